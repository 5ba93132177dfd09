"""PostgreSQL fails over to a standby: to a synchronous one nothing is lost; to one that lacks the last commits what is
lost is bounded, no UID is used twice, and UIDVALIDITY stays.
"""

import imaplib
import signal
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from tests.journeys.ledger import LOST, letter
from tests.journeys.network import Network, needs_network
from tests.journeys.pool_site import PoolSite, hang_up, read_marks, serving
from tests.journeys.postgres_node import PostgresNode, running, standby
from tests.journeys.waiting import wait_until

pytestmark = needs_network

BACKENDS = ("b1", "b2")
JUMP = 1 << 20
WAITING = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
GONE = 20.0  # seconds until every account takes mail again: a silent server is believed gone after 5, and asked for 2


@pytest.fixture
def network() -> Iterator[Network]:
    with Network(*BACKENDS, "old", "new") as made:
        yield made


def _conninfo(network: Network) -> str:
    """As an administrator would write it: both servers, whichever takes writes."""
    hosts = f"{network['old'].address},{network['new'].address}"
    return f"host={hosts} port=5432 user=postgres dbname=postgres target_session_attrs=read-write"


def _promote(new: PostgresNode) -> float:
    """Without waiting for the standby that the old primary had. Returns when it was done."""
    new.set("synchronous_standby_names = ''\n")
    new.promote()
    new.reload()
    return time.monotonic()


def _takes_mail(site: PoolSite, accounts: list[str], since: float) -> float:
    """Seconds until every account had an acknowledged delivery, tried at each backend in turn."""

    def delivered(account: str) -> bool:
        for backend in site.backends:
            with suppress(*LOST):
                site.deliver(backend, account)
                return True
        return False

    for account in accounts:
        wait_until(lambda: delivered(account), f"{account} to take mail again", 30)  # noqa: B023  called at once
    return time.monotonic() - since


def _next_uid(client: imaplib.IMAP4) -> tuple[int, int]:
    """UIDVALIDITY and UIDNEXT of INBOX."""
    found = client.status("INBOX", "(UIDVALIDITY UIDNEXT)")[1][0].decode().split()
    return int(found[-3]), int(found[-1].rstrip(")"))


def test_synchronous_standby(network: Network, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The primary's machine is gone in the middle of work: nothing is refused, nothing answers. Before that the commits
    already waited for the standby, received by a server that will never answer.
    """
    with running(network["old"]) as old, standby(network["new"], old, "new") as new:
        old.set("synchronous_standby_names = 'new'\n")
        old.reload()
        wait_until(lambda: ("sync",) in old.ask("SELECT sync_state FROM pg_stat_replication"), "a synchronous standby")
        folder = tmp_path_factory.mktemp("synchronous")
        with serving(folder / "site", network, BACKENDS, _conninfo(network)) as site:
            accounts = site.add_accounts(4)
            for session in site.open_at("b1", accounts[:2]) + site.open_at("b2", accounts[2:]):
                hang_up(session)
            with site.workers(accounts):
                wait_until(lambda: len(site.acknowledged) > 100, "work to begin")
                network.cut("old", "new")
                wait_until(lambda: len(old.ask(WAITING)) >= len(BACKENDS), "commits to wait for the standby")
                for backend in BACKENDS:
                    network.cut(backend, "old")
                promoted = _promote(new)
                passed = _takes_mail(site, accounts, promoted)
            site.check(accounts)
            print(f"took mail again {passed:.2f} s after the promotion")
            assert passed < GONE


def test_standby_that_lacks_the_last_commits(network: Network, tmp_path_factory: pytest.TempPathFactory) -> None:
    with running(network["old"]) as old, standby(network["new"], old, "new") as new:
        folder = tmp_path_factory.mktemp("asynchronous")
        with serving(folder / "site", network, BACKENDS, _conninfo(network)) as site:
            accounts = site.add_accounts(3)
            sessions = site.open_at("b1", accounts)
            for _ in range(5):
                for account, session in zip(accounts, sessions, strict=True):
                    site.append(session, "b1", account)
            wait_until(lambda: _level(old, new), "the standby to have it all")
            before = [_next_uid(session) for session in sessions]
            network.cut("old", "new")  # from here on the standby hears nothing; the primary goes on alone
            kept = set(site.ledger.acknowledged)
            for _ in range(5):
                for account, session in zip(accounts[:2], sessions[:2], strict=True):
                    site.append(session, "b1", account)
            lost = set(site.ledger.acknowledged) - kept
            seen = [_next_uid(session) for session in sessions]
            old.stop(signal.SIGQUIT)
            promoted = _promote(new)
            print(f"took mail again {_takes_mail(site, accounts, promoted):.2f} s after the promotion")
            for account, (validity, _), (_, shown) in zip(accounts, before, seen, strict=True):
                _, client = site.open_anywhere(account)
                assert _next_uid(client)[0] == validity, "UIDVALIDITY must stay"
                uids = [key[2] for _, key in read_marks(client, account)]
                fresh = [uid for uid in uids if uid >= shown]
                assert fresh, "nothing arrived under the new timeline"
                assert min(fresh) >= JUMP, "the numbers must jump beyond what a client may have seen"
                answer, data = client.append("INBOX", "", "", letter(site.ledger.attempt(account, "last"), account))
                assert answer == "OK", data
                hang_up(client)
            site.check(accounts, lost=sorted(lost))  # and no UID for two, the lost ones included
            print(f"{len(lost)} acknowledged after the standby had heard the last were lost")


def _level(old: PostgresNode, new: PostgresNode) -> bool:
    ((written,),) = old.ask("SELECT pg_current_wal_lsn()")
    ((behind,),) = new.ask("SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", written)
    return bool(behind)
