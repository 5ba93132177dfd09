"""The certificate is renewed in time, goes on being tried for, and comes back when it has ended."""

import asyncio

import pytest

from rookery.base.clock import ManualClock
from rookery.base.errors import Cause, RookeryError
from rookery.distribution.cluster.authority import LIFETIME
from rookery.distribution.cluster.certificates import SKEW, make_request
from rookery.distribution.cluster.contexts import Contexts
from rookery.distribution.cluster.joining import come_back, come_back_through
from rookery.distribution.cluster.messages import ComeBack, Issued, encode
from rookery.distribution.cluster.renewing import AGAIN_LEAST, AGAIN_MOST, HURRY, LOOK, Renewing, due
from rookery.distribution.directory.members import Members
from rookery.distribution.directory.reads_members import fingerprint
from tests.cluster.world import FIRST, World
from tests.net.turns import until


class Node:
    """b1 with its contexts. `away`: the authority cannot be reached."""

    def __init__(self, world: World, contexts: Contexts) -> None:
        self.world = world
        self.contexts = contexts
        self.away = False
        self.told = 0
        self.back = 0
        self.renewing = Renewing(
            world.node("b1"), contexts, world.clock, renew=self.renew, come_back=self.come_back, renewed=self.tell
        )

    async def renew(self, request: bytes) -> Issued:
        if self.away:
            raise RookeryError(Cause.UNAVAILABLE, "nobody there")
        return await self.world.registrar.renew(self.contexts.state.member, request)

    async def come_back(self) -> None:
        self.back += 1
        if self.away:
            raise RookeryError(Cause.UNAVAILABLE, "nobody there")
        await come_back(self.world.node("b1"), (FIRST,), self.world.ask)

    def tell(self) -> None:
        self.told += 1


@pytest.fixture
async def node(world: World) -> Node:
    return Node(world, await world.add("b1"))


async def test_it_is_renewed_after_half_its_life(node: Node, clock: ManualClock) -> None:
    old = node.contexts.state
    assert await node.renewing.look() == LOOK
    assert old.half <= due(old) <= old.half + (old.member.ends - old.half) / 10
    clock.step(due(old) - clock.wall() - 1)
    assert 0 < await node.renewing.look() < 2
    assert node.contexts.state is old
    clock.advance(2)
    await node.renewing.look()
    new = node.contexts.state
    assert (new.member.name, new.member.ends) == ("b1", int(clock.wall()) + LIFETIME)
    assert (node.told, node.back, node.renewing.problem) == (1, 0, None)
    assert node.renewing.ends == new.member.ends
    assert await node.renewing.look() == LOOK


async def test_it_is_tried_again_while_the_authority_is_away(node: Node, clock: ManualClock) -> None:
    old, node.away = node.contexts.state, True
    clock.advance(due(old) - clock.wall() + 1)
    delays = [await node.renewing.look() for _ in range(7)]
    assert delays == [AGAIN_LEAST, 10, 20, 40, AGAIN_MOST, AGAIN_MOST, AGAIN_MOST]
    assert node.renewing.problem
    assert node.renewing.problem.cause is Cause.UNAVAILABLE
    assert node.contexts.state is old
    node.away = False
    await node.renewing.look()
    assert node.contexts.state.member.serial != old.member.serial
    assert (node.told, node.renewing.problem) == (1, None)


async def test_one_that_has_ended_is_got_back(node: Node, clock: ManualClock) -> None:
    old = node.contexts.state
    clock.advance(old.member.ends - clock.wall() + 1)
    await node.renewing.look()
    assert (node.back, node.told) == (1, 1)
    assert node.contexts.state.member.ends == int(clock.wall()) + LIFETIME
    assert await node.renewing.look() == LOOK


async def test_a_revoked_node_goes_on_asking_in_vain(node: Node, world: World, clock: ManualClock) -> None:
    await Members(world.directory).revoke("b1")
    clock.advance(LIFETIME * 3 / 4)
    await node.renewing.look()
    assert node.renewing.problem
    assert node.renewing.problem.cause is Cause.DENIED
    assert "node add b1" in node.renewing.problem.what
    assert node.told == 0


async def test_of_another_authority_a_node_hears_before_its_time_has_come(node: Node, clock: ManualClock) -> None:
    world, members = node.world, Members(node.world.directory)
    assert (await members.standing()).trust == fingerprint(node.contexts.state.bundle.roots)
    await world.registrar.roll()
    trust = (await members.standing()).trust
    node.renewing.hurry(trust)
    assert await node.renewing.look() <= HURRY
    clock.advance(HURRY)
    await node.renewing.look()
    assert len(node.contexts.state.bundle.roots) == 2
    assert fingerprint(node.contexts.state.bundle.roots) == trust
    node.renewing.hurry(trust)  # as a directory says that is behind
    clock.advance(HURRY)
    assert await node.renewing.look() == LOOK
    told = node.told
    clock.advance(LIFETIME + SKEW)
    assert await world.registrar.retire() == 1
    node.renewing.hurry((await members.standing()).trust)
    await node.renewing.look()
    assert (len(node.contexts.state.bundle.roots), node.told) == (1, told + 1)


async def test_who_waits_to_renew_is_woken(node: Node, clock: ManualClock) -> None:
    running = asyncio.create_task(node.renewing.run())
    await node.world.registrar.roll()
    await asyncio.sleep(0)  # it waits
    node.renewing.hurry(b"another")
    clock.advance(HURRY)
    await until(lambda: node.told == 1)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_who_reaches_no_authority_is_renewed_through_others(world: World, clock: ManualClock) -> None:
    """Who passes it on proves nothing, and could not put another certificate in its place."""
    contexts = await world.add("b1")
    files, forged = world.node("b1"), await world.add("thief")

    async def through(message: bytes) -> bytes:
        return await world.registrar.answer(message)

    renewing = Renewing(
        files, contexts, clock, renew=None, come_back=lambda: come_back_through(files, through), renewed=lambda: None
    )
    old = contexts.state.member
    clock.step(due(contexts.state) - clock.wall() + 1)
    await renewing.look()
    new = contexts.state.member
    assert (new.name, new.roles) == (old.name, old.roles)
    assert new.ends > old.ends

    async def of_another(message: bytes) -> bytes:
        return await world.registrar.answer(encode(ComeBack("thief", make_request(forged.state.key))))

    with pytest.raises(RookeryError, match="of another key"):
        await come_back_through(files, of_another)
