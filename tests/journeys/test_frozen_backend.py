"""A backend is stopped (SIGSTOP) while its store is in the middle of a transaction, in each state in which it can be,
and goes on when another has the account: it has written nothing, and serves nothing.

tests/placement/test_frozen.py has the four states on connections of its own, and the times.
"""

import re
import time
from collections.abc import Iterator

import pytest

from tests.journeys.cluster import BACKENDS, Cluster
from tests.journeys.imap import append, marks
from tests.journeys.tapped import Tapped, tapped_cluster
from tests.journeys.wiretap import STATES

pytestmark = pytest.mark.postgres

ACCOUNT = "user0@example.test"
FROZEN, FROZEN_LONG = 3.0, 60.0  # seconds
TAKEN_OVER = 10.0  # seconds


@pytest.fixture(scope="module")
def tapped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Cluster, Tapped]]:
    with tapped_cluster(tmp_path_factory.mktemp("tapped"), 1) as made:
        yield made


def _frozen(cluster: Cluster, tap: Tapped, state: str, seconds: float) -> None:
    mark = f"{state} for {seconds:g} s"
    zombie, host = cluster.log_in(ACCOUNT)
    reading, _ = cluster.log_in(ACCOUNT, host)
    append(zombie, f"before {mark}")
    reading.ask("SELECT INBOX")
    process = cluster.backend(host)
    tap.stop_in(process.pid, state)
    try:
        zombie.send("APPEND INBOX", f"Subject: zombie {mark}\r\n\r\nx\r\n".encode())
        tap.stopped()
        began = time.monotonic()
        client, there = cluster.log_in(ACCOUNT, *(name for name in BACKENDS if name != host), within=TAKEN_OVER)
        print(f"{state}: login elsewhere after {time.monotonic() - began:.2f} s")
        assert there != host
        uid = append(client, f"meanwhile {mark}")
        reading.send("UID FETCH 1:* (FLAGS)")
        zombie.send("APPEND INBOX", f"Subject: second {mark}\r\n\r\nx\r\n".encode())
        time.sleep(max(0.0, began + seconds - time.monotonic()))  # the very fault
    finally:
        tap.go_on()
        process.resume()
    for one in (zombie, reading):
        said = one.rest()
        assert re.fullmatch(rb"\* BYE \[UNAVAILABLE\][^\r\n]*\r\n", said), said
        one.close()
    assert append(client, f"after {mark}") > uid
    found = [marks(client, f"{word} {mark}") for word in ("before", "meanwhile", "zombie", "second", "after")]
    assert found == [1, 1, 0, 0, 1]
    client.close()
    cluster.wait_until_steady()


@pytest.mark.parametrize("state", STATES)
def test_frozen_in_mid_transaction(tapped: tuple[Cluster, Tapped], state: str) -> None:
    _frozen(*tapped, state, FROZEN)


@pytest.mark.soak
@pytest.mark.parametrize("state", STATES)
def test_frozen_in_mid_transaction_for_long(tapped: tuple[Cluster, Tapped], state: str) -> None:
    _frozen(*tapped, state, FROZEN_LONG)
