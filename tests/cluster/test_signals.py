"""Signals over real links: frontends hear at once of what changes in the directory, and of each other's clients."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator

import pytest

from rookery.access.frontend.linked import LinkedDirectory
from rookery.base.config import Config
from rookery.base.members import Role
from rookery.distribution.directory.administration import Administration
from rookery.distribution.directory.members import Members
from rookery.distribution.directory.values import Standing
from rookery.distribution.service.calls import AskRevoked, RevokedNodes, decode_answer, encode
from rookery.distribution.service.claims import Claims, count
from rookery.distribution.service.questions import Questions
from rookery.distribution.service.signals import COUNTERS, MEMBERS, NAMES, Claim, Count, Hub, read
from rookery.management.exchange import Exchange
from rookery.management.membership import Membership, heard, told
from rookery.management.site import Site
from rookery.management.telling import tell_changes
from rookery.net.cluster.node import Service
from rookery.net.stream import Peer
from tests.cluster.world import World
from tests.net.turns import until

CLIENT = "192.0.2.7"


class Front:
    """A frontend's part in it."""

    def __init__(self, world: World, name: str, directory: Peer) -> None:
        self.membership = Membership(Site(world.folder / name), Config(), world.clock)
        self.linked = LinkedDirectory(self.membership.links, [directory])
        self.claims = Claims(world.clock)
        self.counted: Count = count({})
        self.names = self.asked = 0
        hear = {MEMBERS: lambda data: self.wake(), NAMES: self.changed, COUNTERS: self.claimed}
        self.exchange = Exchange(self.membership, self.linked, hear, lambda: self.counted)
        self.wake = self.membership.follow(self.standing, lambda: 1_000.0)  # only when it hears something

    def changed(self, data: bytes) -> None:
        self.names += 1

    def claimed(self, data: bytes) -> None:
        claim = read(Claim, data)
        assert claim is not None
        self.claims.take(claim)

    async def standing(self) -> Standing:
        known = self.membership.revoked
        self.asked += 1
        return heard(decode_answer(await self.linked.call(encode(AskRevoked(known.number))), RevokedNodes), known)


class Meeting:
    def __init__(self, world: World) -> None:
        self.world = world
        self.claims = Claims(world.clock)
        self.hub = Hub(world.clock, self.claims.take)
        self.members = Members(world.directory)
        listen = dataclasses.replace(Config().listen, cluster=0)  # any port
        self.directory = Membership(
            Site(world.folder / "first"), dataclasses.replace(Config(), listen=listen), world.clock
        )
        self.fronts: list[Front] = []
        self.telling = asyncio.create_task(tell_changes(world.directory, self.hub))

    def listen(self) -> None:
        questions = Questions()
        questions.take(AskRevoked, self.revoked)
        service = Service(called=questions.called, signalled=self.hub.signalled)
        self.directory.listen(["127.0.0.1"], service)
        assert self.directory._port is not None
        self.address = Peer("127.0.0.1", self.directory._port.ports[0])

    async def revoked(self, caller: object, question: AskRevoked) -> RevokedNodes:
        return told(await self.members.standing(), question.known)

    async def front(self, name: str) -> Front:
        await self.world.add(name, Role.FRONTEND)
        made = Front(self.world, name, self.address)
        self.fronts.append(made)
        return made

    async def close(self) -> None:
        self.telling.cancel()
        await asyncio.gather(self.telling, return_exceptions=True)
        for front in self.fronts:
            await front.membership.close()
        await self.directory.close()


@pytest.fixture
async def meeting(world: World) -> AsyncIterator[Meeting]:
    made = Meeting(world)
    made.listen()
    yield made
    await made.close()


async def test_a_revocation_is_heard_at_once(meeting: Meeting) -> None:
    first, second = await meeting.front("f1"), await meeting.front("f2")
    for front in (first, second):
        front.exchange.beat()
    await until(lambda: len(meeting.hub) == 2 and first.asked > 1 and second.asked > 1)
    await meeting.members.revoke("f2")
    await until(lambda: "f2" in first.membership.revoked.names)


async def test_other_changes_are_heard_too(meeting: Meeting) -> None:
    front = await meeting.front("f1")
    front.exchange.beat()
    await until(lambda: front.names == 1)  # what it may have missed
    await Administration(meeting.world.directory).add_domain("example.test")
    await until(lambda: front.names == 2)


async def test_frontends_hear_of_each_others_clients(meeting: Meeting) -> None:
    first, second = await meeting.front("f1"), await meeting.front("f2")
    first.counted = count({"imap": [(CLIENT, 3)]})
    second.exchange.beat()
    await until(lambda: len(meeting.hub) == 1)
    first.exchange.beat()
    await until(lambda: second.claims.elsewhere("imap", CLIENT, 100) == 3)
    second.exchange.beat()
    await until(lambda: len(meeting.hub) == 2)
    assert first.claims.elsewhere("imap", CLIENT, 100) == 0


async def test_directory_nodes_hear_of_wrong_logins(meeting: Meeting) -> None:
    front = await meeting.front("f1")
    front.counted = count({}, [(CLIENT, 4.2)])
    front.exchange.beat()
    await until(lambda: meeting.claims.failed(CLIENT, 0, 20) == 4)


async def test_who_comes_back_after_a_cut_hears_what_it_has_missed(meeting: Meeting) -> None:
    front, _ = await meeting.front("f1"), await meeting.front("f2")
    front.exchange.beat()
    await until(lambda: len(meeting.hub) == 1 and front.asked > 1)
    for link in list(front.membership.links._all):
        link.abort()
    await meeting.members.revoke("f2")
    await until(lambda: not len(front.membership.links))
    assert not front.membership.revoked.names
    front.exchange.beat()
    await until(lambda: "f2" in front.membership.revoked.names)
