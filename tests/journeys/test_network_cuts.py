"""Cuts and slow ways between backends and PostgreSQL, each on a node of its own: who is cut off loses its accounts to
the others within a second or two, cannot write when it returns, and nothing acknowledged is lost or doubled. A cut
between backends alone, slowness, and a clock that is stepped, move no account.
"""

import imaplib
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.journeys.ledger import LOST
from tests.journeys.network import Network, needs_network
from tests.journeys.pool_site import PoolSite, answer_to, hang_up, serving
from tests.journeys.postgres_node import running
from tests.journeys.waiting import wait_until

pytestmark = needs_network

BACKENDS = ("b1", "b2", "b3")
TAKEN = 3.0  # seconds, on a busy machine, until another has an account: 1.0 of silence, two beats, a claim
SLOW = 4.0  # seconds of slow ways: more than TAKEN, so that accounts would have moved; work is counted over them
COUNT = 40
WRONG_CLOCK = Path(__file__).with_name("wrong_clock")


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PoolSite]:
    folder = tmp_path_factory.mktemp("cuts")
    with (
        Network(*BACKENDS, "db") as network,
        running(network["db"]) as database,
        serving(folder / "site", network, BACKENDS, database.uri) as site,
    ):
        site.accounts = iter(site.add_accounts(COUNT))
        yield site


@pytest.fixture(autouse=True)
def healed(pool: PoolSite) -> Iterator[None]:
    yield
    pool.network.heal()


def _some(site: PoolSite, count: int, backend: str) -> tuple[list[str], list[imaplib.IMAP4_SSL]]:
    """Accounts that no test had before, open at the backend."""
    accounts = [next(site.accounts) for _ in range(count)]
    return accounts, site.open_at(backend, accounts)


def _working(site: PoolSite, accounts: list[str]) -> bool:
    return {account for _, _, account, _ in site.acknowledged} >= set(accounts)


def _returned(site: PoolSite, backend: str) -> None:
    """It serves again: the domain's accounts can be asked for there."""
    account = next(site.accounts)

    def serves() -> bool:
        with suppress(*LOST):
            hang_up(site.imap(backend, account))
            return True
        return False

    wait_until(serves, f"{backend} to serve again", 20)


@pytest.mark.parametrize(
    ("lost", "seconds"),
    [
        pytest.param([("b1", "db"), ("db", "b1")], 2.5, id="both ways, its connections survive"),
        pytest.param([("b1", "db"), ("db", "b1")], 7.0, id="both ways, its connections end"),
        pytest.param([("db", "b1")], 2.5, id="answers are lost"),
        pytest.param([("b1", "db")], 2.5, id="requests are lost"),
    ],
)
def test_cut_from_the_database(pool: PoolSite, lost: list[tuple[str, str]], seconds: float) -> None:
    accounts, sessions = _some(pool, 2, "b1")
    with pool.workers(accounts):
        wait_until(lambda: _working(pool, accounts), "work to begin")
        for way in lost:
            pool.network.lose(*way)
        since = time.monotonic()
        late = threading.Thread(target=_append_late, args=(pool, sessions[0], accounts[0]))
        late.start()
        taken = [pool.taken_over(account, since, "b1") for account in accounts]
        assert answer_to(sessions[1], "noop") in ("BYE", "NO"), "it still answers for what others have"
        time.sleep(max(0.0, since + seconds - time.monotonic()))  # the very fault
        pool.network.heal()
        late.join()
        assert "b1" not in {backend for backend, _ in pool.epochs(accounts).values()}
    print(f"taken over after {max(taken):.2f} s")
    for session in sessions:
        hang_up(session)
    _returned(pool, "b1")
    pool.check(accounts)
    assert max(taken) < TAKEN


def _append_late(site: PoolSite, session: imaplib.IMAP4_SSL, account: str) -> None:
    """On its way while the backend is cut off; whatever it answers is put into the books."""
    session.sock.settimeout(15)
    with suppress(*LOST):
        site.append(session, "b1", account)


def test_cut_between_backends(pool: PoolSite) -> None:
    """All three cannot reach each other; each reaches the database."""
    accounts, sessions = _some(pool, 2, "b1")
    more, others = _some(pool, 2, "b2")
    before = pool.epochs(accounts + more)
    with pool.workers(accounts + more):
        for one, other in (("b1", "b2"), ("b2", "b3"), ("b1", "b3")):
            pool.network.cut(one, other)
        time.sleep(TAKEN)  # within which the others would have them, if they took a silent peer for dead
        pool.network.heal()
    assert pool.epochs(accounts + more) == before
    for session in sessions + others:
        assert answer_to(session, "noop") == "OK"
        hang_up(session)
    pool.check(accounts + more)


@pytest.mark.parametrize("delay", [0.02, 0.05], ids=["40 ms there and back", "100 ms there and back"])
def test_slow_ways(pool: PoolSite, delay: float) -> None:
    """To the database and among backends, 100 kB a second. b3 has it quick, and could find the others dead."""
    accounts, sessions = _some(pool, 2, "b1")
    more, others = _some(pool, 2, "b2")
    before = pool.epochs(accounts + more)
    for one, other in (("b1", "db"), ("b2", "db"), ("b1", "b2"), ("b1", "b3")):
        pool.network.slow(one, other, delay=delay, rate=100_000.0)
    done = len(pool.acknowledged)
    with pool.workers(accounts + more):
        time.sleep(SLOW)
    assert pool.epochs(accounts + more) == before
    for session in sessions + others:
        assert answer_to(session, "noop") == "OK"
        hang_up(session)
    pool.network.heal()
    print(f"{(len(pool.acknowledged) - done) / SLOW:.0f} changes a second")
    assert len(pool.acknowledged) > done
    pool.check(accounts + more)


def test_stepped_clock(pool: PoolSite, tmp_path: Path) -> None:
    """An hour forward, then two back, at the backend that hosts; it changes dates, and nothing else."""
    clock = tmp_path / "offset"
    clock.write_text("0")
    pool.restart("b2", {"PYTHONPATH": str(WRONG_CLOCK), "WRONG_CLOCK": str(clock)})
    accounts, sessions = _some(pool, 2, "b2")
    before = pool.epochs(accounts)
    with pool.workers(accounts):
        for offset in ("3600", "-3600"):
            clock.write_text(offset)
            time.sleep(TAKEN)  # within which another would have them, if its clock counted
            done = len(pool.acknowledged)
            wait_until(lambda: len(pool.acknowledged) > done + 10, "work to go on")  # noqa: B023  called at once
    assert pool.epochs(accounts) == before
    date = _date_of_a_new_message(pool, sessions[0])
    assert abs(date - (time.time() - 3600)) < 60, "the clock was not stepped"
    for session in sessions:
        assert answer_to(session, "noop") == "OK"
        hang_up(session)
    pool.check(accounts)


def _date_of_a_new_message(site: PoolSite, session: imaplib.IMAP4_SSL) -> float:
    session.append("INBOX", "", "", b"Subject: what time is it?\r\nX-Mark: clock-0\r\n\r\n")
    session.select("INBOX")
    _, data = session.fetch("*", "(INTERNALDATE)")
    found = imaplib.Internaldate2tuple(data[0])  # type: ignore[arg-type]
    assert found is not None
    return time.mktime(found)
