"""Certificates and the cluster port together: who is let in, renewed over the link itself, and put out."""

import asyncio
import ipaddress
from collections.abc import AsyncIterator

import msgspec
import pytest

from rookery.base.errors import Cause, RookeryError
from rookery.base.members import Member, Role
from rookery.distribution.cluster.admission import Admission
from rookery.distribution.cluster.certificates import member_of
from rookery.distribution.cluster.contexts import Contexts
from rookery.distribution.cluster.joining import Renewal
from rookery.distribution.cluster.messages import Issued
from rookery.distribution.directory.members import Members
from rookery.net.cluster.link import Link
from rookery.net.cluster.links import DialSettings, Links
from rookery.net.cluster.node import Node, Service
from rookery.net.cluster.port import ClusterPort, PortSettings, open_port
from rookery.net.stream import Peer
from rookery.net.wheel import Wheel
from tests.cluster.world import World
from tests.net.turns import until


class Meeting:
    """`first` listens, and gives certificates to whoever calls for one. What it hears of revocations it acts on."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.wheel = Wheel(world.clock.monotonic)
        self.admission = Admission()
        self.contexts = world.first
        self.seen: list[Member] = []
        node, service = self.node("first", self.admission), Service(called=self.renew)
        settings = PortSettings(allow=[ipaddress.ip_network("127.0.0.0/8")])
        self.port: ClusterPort = open_port(
            ["127.0.0.1"], 0, node, service, self.contexts.server, wheel=self.wheel, settings=settings
        )
        self.dialled: list[Links] = []
        self.tasks: set[asyncio.Task[None]] = set()
        world.directory.watch(self.told)

    def node(self, name: str, admission: Admission) -> Node:
        cluster = self.world.cluster
        return Node(cluster, name, "0.1", lambda shown: member_of(shown, cluster), admission.admits)

    async def renew(self, link: Link, request: bytes) -> bytes:
        assert isinstance(link.peer, Member)
        self.seen.append(link.peer)
        return msgspec.msgpack.encode(await self.world.registrar.renew(link.peer, request))

    def told(self) -> None:
        task = asyncio.create_task(self.look())
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def look(self) -> None:
        revoked = await Members(self.world.directory).revoked()
        if self.admission.take(revoked):
            self.port.sweep()

    def links(self, name: str, contexts: Contexts) -> Links:
        settings = DialSettings(connect=20)
        made = Links(self.node(name, Admission()), Service(), contexts.client, wheel=self.wheel, settings=settings)
        self.dialled.append(made)
        return made

    @property
    def address(self) -> Peer:
        return Peer("127.0.0.1", self.port.ports[0])


@pytest.fixture
async def meeting(world: World) -> AsyncIterator[Meeting]:
    made = Meeting(world)
    yield made
    for links in made.dialled:
        await links.close()
    await made.port.close()
    await asyncio.gather(*made.tasks)


async def renew(world: World, name: str, link: Link) -> Member:
    state = world.node(name).state()
    assert state
    renewal = Renewal(world.node(name), state)
    answer = await link.call(renewal.request, 20)
    return await renewal.accept(msgspec.msgpack.decode(answer, type=Issued))


async def test_a_certificate_is_renewed_over_the_link_also_when_the_key_changes(world: World, meeting: Meeting) -> None:
    contexts = await world.add("b1", Role.BACKEND)
    links = meeting.links("b1", contexts)
    link = await links.to(meeting.address)
    assert link.peer.roles == {Role.AUTHORITY, Role.DIRECTORY}
    await world.registrar.roll()
    first, again = await renew(world, "b1", link), await renew(world, "b1", link)
    assert [member.name for member in meeting.seen] == ["b1", "b1"]
    assert len({first.serial, again.serial, meeting.seen[0].serial}) == 3
    contexts.reload()
    links.use(contexts.client)
    newer = meeting.links("b1", contexts)  # it dials anew
    await (await newer.to(meeting.address)).call(Renewal(world.node("b1"), contexts.state).request, 20)
    assert meeting.seen[-1] == again
    await until(lambda: link.closed)  # nothing was under way on it


async def test_a_revoked_node_is_put_out_and_not_let_in_again(world: World, meeting: Meeting) -> None:
    contexts, other = await world.add("f1"), await world.add("f2")
    links, others = meeting.links("f1", contexts), meeting.links("f2", other)
    link, stays = await links.to(meeting.address), await others.to(meeting.address)
    await Members(world.directory).revoke("f1")
    await until(lambda: not link.usable)
    with pytest.raises(RookeryError) as caught:
        await renew(world, "f1", link)
    assert caught.value.cause in (Cause.DENIED, Cause.UNAVAILABLE)
    with pytest.raises(RookeryError):
        await meeting.links("f1", contexts).to(meeting.address)
    assert stays.usable
    assert (await renew(world, "f2", stays)).name == "f2"


async def test_a_node_that_is_added_again_comes_back_and_its_former_links_do_not(
    world: World, meeting: Meeting
) -> None:
    former = await world.add("f1")
    link = await meeting.links("f1", former).to(meeting.address)
    heard = Members(world.directory)
    meeting.told, told = lambda: None, meeting.told  # type: ignore[method-assign]  # it is cut off
    world.directory.watch(lambda: meeting.told())
    await heard.revoke("f1")
    (world.folder / "f1").rename(world.folder / "stolen")
    again = await world.add("f1")
    newer = await meeting.links("f1", again).to(meeting.address)
    told()  # both at once, when it is back
    await until(lambda: link.closed)
    assert newer.usable
    with pytest.raises(RookeryError):
        await meeting.links("f1", former).to(meeting.address)
