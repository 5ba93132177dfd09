"""The recipe of docs/hosting.md, two PostgreSQL nodes and a witness: the primary dies, is cut off, or is relieved.
Nobody does anything, mail is taken again, nothing acknowledged is lost, and the machine comes back as the standby.
"""

import itertools
import time
from collections.abc import Callable, Iterator

import pytest

from rookery.management.operations.database import examine
from tests.journeys.network import Network
from tests.journeys.patroni_nodes import MACHINES, Trio, needs_patroni, patroni, typed
from tests.journeys.pool_site import PoolSite, serving
from tests.journeys.waiting import wait_until

pytestmark = needs_patroni

BACKENDS = ("b1", "b2")
ACCOUNTS = 4
PAUSE = 60.0  # seconds, where 20 to 25 are expected


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    with Network(*MACHINES, *BACKENDS) as made:
        yield made


@pytest.fixture(scope="module")
def trio(network: Network) -> Iterator[Trio]:
    with patroni(network) as made:
        yield made


@pytest.fixture(scope="module")
def site(trio: Trio, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PoolSite]:
    assert examine(trio.conninfo) == []
    with serving(tmp_path_factory.mktemp("patroni") / "site", trio.network, BACKENDS, trio.conninfo) as made:
        made.add_accounts(ACCOUNTS)
        yield made


def _accounts() -> list[str]:
    return [f"user{number}@example.test" for number in range(ACCOUNTS)]


def _work_goes_on(site: PoolSite, since: float) -> bool:
    return {account for at, _, account, _ in site.acknowledged if at > since} == set(_accounts())


def _pauses(site: PoolSite, fault: float) -> list[float]:
    """Of each account: seconds between the acknowledgements before and after the longest silence since the fault."""
    found = []
    for account in _accounts():
        times = [at for at, _, whose, _ in site.acknowledged if whose == account]
        found.append(max(after - before for before, after in itertools.pairwise(times) if after > fault))
    return found


def _dies(trio: Trio, gone: str) -> None:
    trio.network.isolate(gone)
    trio.machines[gone].kill()


def _is_cut_off(trio: Trio, gone: str) -> None:
    trio.network.isolate(gone)


def _is_cut_off_from_its_fellows(trio: Trio, gone: str) -> None:
    """Backends reach it and work on, as long as it lets them."""
    for other in set(MACHINES) - {gone}:
        trio.network.cut(gone, other)


def _is_relieved(trio: Trio, gone: str) -> None:
    """Somebody wants it free, for maintenance."""
    (line,) = [line for line in typed() if " switchover " in line]
    trio.machines[gone].type(line)


@pytest.mark.parametrize(
    "fault",
    [
        _dies,
        pytest.param(_is_cut_off, marks=pytest.mark.soak),
        pytest.param(_is_cut_off_from_its_fellows, marks=pytest.mark.soak),
        pytest.param(_is_relieved, marks=pytest.mark.soak),
    ],
)
def test_primary(fault: Callable[[Trio, str], None], site: PoolSite, trio: Trio) -> None:
    wait_until(trio.whole, "a leader and a synchronous standby", 120)
    gone = trio.leader()
    left = trio.other(gone)
    with site.workers(_accounts()):
        begun = time.monotonic()
        wait_until(lambda: _work_goes_on(site, begun), "work to begin")
        at = time.monotonic()
        fault(trio, gone)
        wait_until(lambda: trio.roles(left).get(left) == "leader", "the standby to be promoted", 90)
        promoted = time.monotonic()
        wait_until(lambda: _work_goes_on(site, promoted), "every account to take mail again")
        pauses = _pauses(site, at)
        print(f"promoted after {promoted - at:.1f} s; pauses of {min(pauses):.1f} to {max(pauses):.1f} s")
        trio.network.heal()
        if fault is _dies:
            trio.machines[gone].boot()
        wait_until(lambda: trio.roles(left) == {left: "leader", gone: "sync_standby"}, "the old primary to follow", 120)
        print(f"whole again {time.monotonic() - at:.1f} s after the fault")
    site.check(_accounts())
    assert trio.roles(left) == {left: "leader", gone: "sync_standby"}
    assert max(pauses) < PAUSE
