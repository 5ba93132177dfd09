"""What a frontend says of itself while no directory node answers, and when its certificate or authority ends."""

import ssl
from collections.abc import AsyncIterator

import pytest

from rookery.base.config import Config
from rookery.distribution.cluster.authority import AUTHORITY_LIFETIME
from rookery.distribution.service.calls import Host
from rookery.distribution.service.claims import Claims, Failures, Sharing, count
from rookery.management.fronting import FrontServices
from rookery.management.membership import AUTHORITY_DAYS, AWAY, Membership
from rookery.management.site import Site
from tests.cluster.world import World


@pytest.fixture
async def membership(world: World) -> AsyncIterator[Membership]:
    await world.add("f1")
    made = Membership(Site(world.folder / "f1"), Config(), world.clock)
    yield made
    await made.close()


def front(world: World, membership: Membership) -> FrontServices:
    sharing = Sharing(Claims(world.clock), Failures(world.clock), lambda: count({}))
    return FrontServices(Config(), membership, ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), world.clock, sharing)


async def test_without_a_directory_it_is_ill_unless_known_users_get_in(
    world: World, membership: Membership, monkeypatch: pytest.MonkeyPatch
) -> None:
    services = front(world, membership)
    assert (services.problems(), services.warnings()) == ([], [])
    world.clock.advance(AWAY)
    assert services.problems() == ["no directory node has answered for 5 s: nobody can log in"]
    assert services.warnings() == []
    services.directory._hosts[b"alice"] = Host("b1", "192.0.2.1:7143")
    assert services.problems()  # whom it would ask is out of reach, too
    monkeypatch.setattr(type(membership.links), "__len__", lambda links: 1)
    assert services.problems() == []
    assert services.warnings() == ["no directory node has answered for 5 s: only who logged in here before can do so"]
    await services.close()


async def test_certificates_that_end_are_told_of(world: World, membership: Membership) -> None:
    assert (membership.problems(), membership.warnings()) == ([], [])
    world.clock.advance(membership.member.ends - world.clock.wall())
    assert membership.problems() == ["its certificate in the cluster has ended"]
    world.clock.advance(AUTHORITY_LIFETIME - AUTHORITY_DAYS * 86_400)
    (warning,) = membership.warnings()
    assert warning.startswith("the cluster's authority ends in 1")
    assert warning.endswith("days: change it, `rookery cluster roll`")
