"""How long everybody takes to come back when the backend that had all sessions is killed, through a frontend.

python -m bench.herd [--sessions 10000] [--each 5]

A pool of three backends on PostgreSQL, a frontend before it. `--each`: sessions of one account, as a phone and a mail
program have them. All are of accounts that one backend has the best claim to, which has checked their passwords too and
is killed; clients log in again until they are in, each 5 times a second at most.
"""

import argparse
import asyncio
import os
import signal
import sys
import tempfile
import time
from pathlib import Path

import psutil
import psycopg

from bench.peers.postgresql import PostgreSQL
from rookery.distribution.auth import schemes
from rookery.distribution.placement.rendezvous import ranked
from tests.journeys.test_frontend_pool import BACKENDS, Pool
from tests.journeys.test_login_herd import PASSWORD, Herd, more_files

LIMITS = {"limits__connections_per_address": "20000", "limits__before_login": "20000", "limits__connections": "20000"}


def _processor(pids: list[int]) -> list[float]:
    """Seconds that each has used."""
    return [sum(psutil.Process(pid).cpu_times()[:2]) for pid in pids]


async def _one(pool: Pool, herd: Herd, sessions: int) -> float:
    """Kill the backend that has them all; seconds until all are back."""
    victim, *others = BACKENDS
    assert pool.front.process is not None
    watched = {"frontend": pool.front.process.pid, **{name: pool.process_of(name) for name in others}}
    before = _processor(list(watched.values()))
    already = len(herd.back)
    killed = time.monotonic()
    os.kill(pool.process_of(victim), signal.SIGKILL)
    await herd.settle(already + sessions)
    used = [now - then for now, then in zip(_processor(list(watched.values())), before, strict=True)]
    times = sorted(one - killed for one in herd.back[already:])
    shares = ", ".join(f"{name} {seconds:.1f}" for name, seconds in zip(watched, used, strict=True))
    print(f"half after {times[len(times) // 2]:.1f} s, all after {times[-1]:.1f} s; processor seconds: {shares}")
    return times[-1]


def _accounts(pool: Pool, database: str, count: int) -> list[str]:
    """Those of many that the first backend has the best claim to."""
    first, many = (
        next(iter(BACKENDS)),
        [f"herd{number}@example.test" for number in range(count * len(BACKENDS) * 5 // 4)],
    )
    hashed = schemes.make(PASSWORD.encode())
    table = pool.site.folder.parent / "accounts.csv"
    table.write_text("".join(f'{address},"{hashed}"\n' for address in many))
    pool.site.rookery("account", "import", str(table))
    with psycopg.connect(database) as connection:
        rows = connection.execute("SELECT account, local FROM directory.account").fetchall()
    mine = [f"{local}@example.test" for account, local in rows if ranked(account, BACKENDS, str)[0] == first]
    return [address for address in mine if address.startswith("herd")][:count]


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench.herd", description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--sessions", type=int, default=10_000)
    parser.add_argument("--each", type=int, default=5)
    given = parser.parse_args()
    more_files()
    work = Path(tempfile.mkdtemp(prefix="rookery-bench-"))
    work.chmod(0o755)
    postgresql = PostgreSQL(work / "postgresql")
    pool = Pool(work, postgresql.uri, **LIMITS)
    accounts = _accounts(pool, postgresql.uri, given.sessions // given.each)

    async def live() -> None:
        herd = Herd(pool, accounts * given.each)
        await herd.log_in()
        print(f"{given.sessions} sessions of {len(accounts)} accounts; load {os.getloadavg()[0]:.1f}", flush=True)
        await _one(pool, herd, given.sessions)
        await herd.close()

    try:
        asyncio.run(live())
    finally:
        pool.kill()
        postgresql.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
