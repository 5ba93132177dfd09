"""One process that takes LMTP, for bench/lmtp_load.py and for profiles: into the real store, or into nothing.

python -m bench.lmtp_server [--memory] [--postgres URI] [--folder DIR] [--seconds 60]   prints its port

On PostgreSQL it also says how much of the write-ahead log a delivery took.
"""

import argparse
import asyncio
import resource
import tempfile
from collections.abc import Callable, Collection
from pathlib import Path

import psycopg
import uvloop

from rookery.access.conversation import SmtpSettings
from rookery.access.lmtp import serve_lmtp
from rookery.base.clock import SystemClock
from rookery.base.errors import Refusal
from rookery.base.ids import AccountId, system_random
from rookery.base.log import Level, set_levels
from rookery.distribution.directory.values import NotLocal, Resolution, Resolved, Target
from rookery.net.limits import ConnectionLimits
from rookery.net.listener import listen
from rookery.net.stream import Stream
from rookery.storage.append import Append
from rookery.storage.gate import Gate
from rookery.storage.staging import Staging
from rookery.storage.store import Store
from rookery.storage.values import Appended

ACCOUNTS = 50
SCHEMA = "bench"


class Sink:
    """A store that forgets: what is left is the protocol."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._loop = asyncio.get_running_loop()

    def stage(self) -> Staging:
        return self._store.stage()

    async def room(self) -> None:
        return

    def append_soon(self, item: Append, done: Callable[[Appended | Refusal], None]) -> None:
        self._loop.call_soon(done, Appended(1, 1, 1, 1))


class Everything:
    """Hosts all accounts, under the epochs of one claim at the start."""

    def __init__(self, uri: str, schema: str) -> None:
        self._uri = uri
        self._schema = schema
        self._epochs: dict[AccountId, int] = {}

    def claim(self) -> None:
        with psycopg.connect(self._uri, autocommit=True) as connection:
            connection.execute(f"SET search_path = {self._schema}".encode())
            claim = b"UPDATE account SET epoch = nextval('epoch'), opened_under = timeline() RETURNING id, epoch"
            self._epochs = {AccountId(row[0]): row[1] for row in connection.execute(claim)}

    def written(self) -> tuple[int, int]:
        """Octets of the write-ahead log, emails."""
        with psycopg.connect(self._uri, autocommit=True) as connection:
            text = f"SELECT pg_current_wal_lsn() - '0/0', (SELECT count(*) FROM {self._schema}.email)"
            row = connection.execute(text.encode()).fetchone()
            assert row is not None
            return int(row[0]), int(row[1])

    def epoch(self, account: AccountId) -> int | None:
        return self._epochs.get(account)

    def fenced(self, accounts: Collection[AccountId]) -> None:
        raise AssertionError

    def doubtful(self, accounts: Collection[AccountId]) -> None:
        raise AssertionError

    def moved_on(self, timeline: str) -> None:
        raise AssertionError


class Names:
    """user0@bench.test to user49@bench.test."""

    def __init__(self) -> None:
        self._found: dict[str, Resolution] = {
            f"user{n}@bench.test": Resolved((Target(AccountId(n.to_bytes(16, "big")), f"user{n}@bench.test"),))
            for n in range(ACCOUNTS)
        }

    def resolve(self, address: str) -> Resolution:
        return self._found.get(address, NotLocal(address))


async def run(arguments: argparse.Namespace) -> None:
    set_levels(Level.INFO if arguments.log else Level.ERROR, {})
    gate, names, settings, clock = Gate(), Names(), SmtpSettings(hostname="mx.bench.test"), SystemClock()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(arguments.folder or temporary)
        pool = Everything(arguments.postgres, SCHEMA) if arguments.postgres else None
        if pool is None:
            store = await Store.open(folder, clock=clock, random=system_random, gate=gate)
        else:
            store = await Store.open_shared(
                arguments.postgres, folder, application="rookery bench", hosting=pool, schema=SCHEMA, clock=clock,
                random=system_random, gate=gate,
            )  # fmt: skip
        for n in range(ACCOUNTS):
            await store.create_account(AccountId(n.to_bytes(16, "big")))
        if pool is not None:
            pool.claim()
            before = pool.written()
        boxes = Sink(store) if arguments.memory else store

        async def serve(stream: Stream) -> None:
            await serve_lmtp(stream, store=boxes, directory=names, settings=settings, clock=clock)

        listener = await listen(
            ["127.0.0.1"], arguments.port, serve, name="lmtp", limits=ConnectionLimits(10_000, None),
            give_way=gate.give_way,
        )  # fmt: skip
        print(listener.ports[0], flush=True)
        begun = resource.getrusage(resource.RUSAGE_SELF)
        await asyncio.sleep(arguments.seconds)
        ended = resource.getrusage(resource.RUSAGE_SELF)
        user, system = ended.ru_utime - begun.ru_utime, ended.ru_stime - begun.ru_stime
        print(f"processor seconds: {user:.2f} user, {system:.2f} system", flush=True)
        if pool is not None:
            octets, emails = (now - then for now, then in zip(pool.written(), before, strict=True))
            print(f"write-ahead log: {octets / max(1, emails):.0f} octets a delivery, {emails} deliveries", flush=True)
        await listener.close()
        await store.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--memory", action="store_true", help="store nothing")
    parser.add_argument("--postgres", metavar="URI", help="a database; the schema bench is made in it")
    parser.add_argument("--folder", help="default: a temporary one")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--log", action="store_true", help="log every delivery, as a site does by default")
    uvloop.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
