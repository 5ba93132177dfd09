"""What the authority's node does by itself: it drops a key that nobody needs, and says when the one that signs ends."""

import dataclasses

from rookery.base.config import Config
from rookery.base.log import captured
from rookery.distribution.cluster.authority import AUTHORITY_LIFETIME, LIFETIME
from rookery.distribution.cluster.certificates import SKEW
from rookery.distribution.directory.members import Members
from rookery.management.authority_duty import AuthorityDuty
from rookery.management.membership import Membership
from rookery.management.site import Site
from tests.cluster.world import World
from tests.net.turns import until


async def test_a_former_key_is_dropped_and_the_end_of_an_authority_told(world: World) -> None:
    await world.registrar.roll()
    await world.renew("first")
    world.clock.advance(LIFETIME + SKEW)
    members = Members(world.directory)
    assert len(await members.authorities()) == 2
    membership = Membership(Site(world.folder / "first"), Config(), world.clock)
    config = dataclasses.replace(Config(), listen=dataclasses.replace(Config().listen, join=0))  # any port
    duty = AuthorityDuty(world.registrar, membership, config, world.clock)
    with captured() as events:
        duty.start(["127.0.0.1"])
        await until(lambda: any(event == "authorities-dropped" for _, event, _ in events))
    assert len(await members.authorities()) == 1
    await duty.close()

    world.clock.advance(AUTHORITY_LIFETIME - LIFETIME - 86_400)
    again = AuthorityDuty(world.registrar, membership, config, world.clock)
    with captured() as events:
        again.start(["127.0.0.1"])
        await until(lambda: any("`rookery cluster roll`" in str(fields) for _, _, fields in events))
    await again.close()
    await membership.close()
