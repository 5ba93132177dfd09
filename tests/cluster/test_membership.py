"""Of several processes of a node one renews the certificate, and the others take it up."""

import pytest

from rookery.base.config import Config
from rookery.management import membership as module
from rookery.management.membership import Membership
from rookery.management.site import Site
from tests.cluster.world import World
from tests.net.turns import until


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK", 0.0)


async def test_what_another_process_renewed_is_used(world: World, looks: None) -> None:
    membership = Membership(Site(world.folder / "first"), Config(), world.clock)
    before, context = membership.member.serial, membership.contexts.client
    membership.take_up()
    await world.renew("first")
    await until(lambda: membership.member.serial != before)
    await until(lambda: membership.links._context is membership.contexts.client)  # for links dialled from now on
    assert membership.contexts.client is not context
    await membership.close()
