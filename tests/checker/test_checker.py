"""Clients at work during random faults: afterwards everything acknowledged is there exactly once, and all the rest.

CHECKER_SEED repeats the choices of a run, CHECKER_SECONDS makes it longer or shorter. Which choice meets which state
of the cluster is up to the machine. The history stays in the folder of a test that failed.
"""

import os
import random
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.checker.history import History, Outcome
from tests.checker.judge import judge
from tests.checker.nemesis import FrontedNemesis, Nemesis
from tests.checker.senders import Sender
from tests.checker.users import PATIENCE, User
from tests.checker.witness import watch
from tests.journeys.cluster import Cluster, running_cluster
from tests.journeys.fronted import running_fronted

pytestmark = [pytest.mark.journey, pytest.mark.postgres]

ACCOUNTS = 4
SENDERS = 2  # of each kind
SECONDS = 60.0
FRONTED_SECONDS = 40.0
SOAK_SECONDS = 900.0
STOPPING = 30.0  # seconds until a client has noticed that it is to stop
SHOWN = 20  # violations

Running = Callable[[Path, int], AbstractContextManager[Cluster]]


def _check(
    folder: Path,
    seconds: float,
    running: Running = running_cluster,
    enemy: type[Nemesis] = Nemesis,
) -> None:
    seed = os.environ.get("CHECKER_SEED") or str(random.SystemRandom().randrange(1_000_000))
    seconds = float(os.environ.get("CHECKER_SECONDS") or seconds)
    print(f"CHECKER_SEED={seed}, {seconds:g} s")
    with running(folder / "site", ACCOUNTS) as cluster:
        watch(cluster.database)
        history = History(folder / "history.jsonl")
        nemesis = enemy(cluster, history, f"{seed} nemesis")
        _work(clients := _clients(cluster, history, seed), lambda: nemesis.run(seconds))
        nemesis.heal()
        try:
            cluster.wait_until_steady()
        except AssertionError as error:
            history.violated(str(error))
        complaints = judge(cluster, history)
    print(f"{len(clients)} clients; faults: {nemesis.faults}\n{history.summary()}")
    for what in ("append", "flag", "copy", "move", "expunge", "rename", "lmtp", "smtp"):
        assert history.counts[what, Outcome.DONE], f"no {what} was ever acknowledged: this run shows nothing"
    assert not complaints, f"seed {seed}, {len(complaints)} violations:\n" + "\n".join(complaints[:SHOWN])


def _clients(cluster: Cluster, history: History, seed: str) -> list[Callable[[threading.Event], None]]:
    made: list[Callable[[threading.Event], None]] = []
    for number, account in enumerate(cluster.passwords):
        for letter, patience in zip("ab", PATIENCE, strict=True):
            name = f"u{number}{letter}"
            made.append(User(cluster, history, account, name, f"{seed} {name}", patience).run)
    for kind in ("lmtp", "smtp"):
        for number in range(SENDERS):
            name = f"{kind}{number}"
            made.append(Sender(cluster, history, name, f"{seed} {name}", lmtp=kind == "lmtp").run)
    return made


def _work(clients: list[Callable[[threading.Event], None]], meanwhile: Callable[[], None]) -> None:
    """Raises what a client raised: a client that fails is no witness."""
    stop = threading.Event()
    failures: list[BaseException] = []

    def run(client: Callable[[threading.Event], None]) -> None:
        try:
            client(stop)
        except BaseException as error:  # noqa: BLE001  told by the test
            failures.append(error)

    threads = [threading.Thread(target=run, args=(client,), daemon=True) for client in clients]
    for thread in threads:
        thread.start()
    try:
        meanwhile()
    finally:
        stop.set()
    for thread in threads:
        thread.join(STOPPING)
        assert not thread.is_alive(), "a client hangs"
    for failure in failures:
        raise failure


def test_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    _check(tmp_path, SECONDS)


@pytest.mark.soak
def test_nothing_acknowledged_is_lost_for_long(tmp_path: Path) -> None:
    _check(tmp_path, SOAK_SECONDS)


def test_nothing_acknowledged_is_lost_behind_frontends(tmp_path: Path) -> None:
    _check(tmp_path, FRONTED_SECONDS, running_fronted, FrontedNemesis)


@pytest.mark.soak
def test_nothing_acknowledged_is_lost_behind_frontends_for_long(tmp_path: Path) -> None:
    _check(tmp_path, SOAK_SECONDS, running_fronted, FrontedNemesis)
