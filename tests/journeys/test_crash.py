"""SIGKILL at random moments under load: everything acknowledged is there once, on every account, after every life."""

import random
from collections.abc import Callable
from pathlib import Path
from threading import Event

import pytest

from tests.journeys.ledger import Ledger, check, deliver, run_clients, use_mailbox
from tests.journeys.site import RunningSite
from tests.journeys.waiting import wait_until

ACCOUNTS = 6
ROUNDS = 20
SOAK_ROUNDS = 200
SEED = 20261121
LEAST_LIFE, GREATEST_LIFE = 0.15, 1.0  # seconds under load before the kill


def _clients(site: RunningSite, ledger: Ledger, seed: int) -> list[Callable[[Event], None]]:
    clients: list[Callable[[Event], None]] = []
    for number, (address, password) in enumerate(site.passwords.items()):
        for lmtp in (True, False):
            port = site.ports["lmtp" if lmtp else "smtp"]
            clients.append(lambda stop, p=port, a=address, k=lmtp: deliver(ledger, p, a, stop, lmtp=k))  # type: ignore[misc]
        clients.append(
            lambda stop, a=address, w=password, s=seed + number: use_mailbox(  # type: ignore[misc]
                ledger, site.ports["imap"], a, w, stop, s
            )
        )
    return clients


def _lives(site: RunningSite, rounds: int) -> Ledger:
    dice = random.Random(SEED)
    ledger = Ledger()
    for number in range(ACCOUNTS):
        site.add_account(f"user{number}")
    for life in range(rounds):
        stop, threads = run_clients(_clients(site, ledger, SEED + 100 * life))
        stop.wait(dice.uniform(LEAST_LIFE, GREATEST_LIFE))
        site.kill()
        stop.set()
        for thread in threads:
            thread.join(60)
            assert not thread.is_alive(), "a client hangs"
        site.start()
        if life % 5 == 4 or life == rounds - 1:
            wait_until(lambda: not site.json("queue", "list"), "the queue to be empty")
            check(ledger, site.ports["imap"], site.passwords)
    site.stop()
    done = site.rookery("store", "verify")
    assert "missing" not in done.stdout.lower() or " 0 missing" in done.stdout.lower(), done.stdout
    return ledger


@pytest.mark.journey
@pytest.mark.crash
def test_twenty_lives(site: RunningSite) -> None:
    ledger = _lives(site, ROUNDS)
    kinds = {mark.split("-")[0] for mark in ledger.acknowledged}
    assert kinds == {"lmtp", "smtp", "append"}, "the load did not reach every way in"
    assert ledger.flagged, "no keyword was acknowledged"
    assert ledger.expunged, "no expunge was acknowledged"


@pytest.mark.soak
def test_two_hundred_lives(site: RunningSite, tmp_path: Path) -> None:
    _lives(site, SOAK_ROUNDS)
