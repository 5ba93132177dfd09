"""Streams of mail need neither account nor handle: what bounds them is who may open some, and how many."""

import asyncio
from dataclasses import replace

from rookery.access.streams import MailStreams
from rookery.base.errors import Cause
from rookery.base.members import Member
from rookery.net.cluster.link import Link
from rookery.net.cluster.member import Role
from rookery.net.cluster.stream import LinkStream
from rookery.net.stream import Peer
from rookery.wire.cluster.values import Preface
from tests.net.cluster.nodes import FRONTEND, Nodes, context
from tests.net.turns import until

MAIL = Preface("smtp")


async def test_a_greedy_node_leaves_room_for_others(nodes: Nodes) -> None:
    over = asyncio.Event()

    async def enter(stream: LinkStream, node: Member, preface: Preface) -> None:
        await over.wait()

    mail = MailStreams({"smtp": enter}, most=2)
    nodes.take = mail.opened  # type: ignore[method-assign]
    address = nodes.port()
    greedy, again = await link(nodes, "m1", address), await link(nodes, "m1", address)
    for one in (greedy, again):
        await one.open(MAIL)
    await until(lambda: len(mail.sessions) == 2)
    refused = await greedy.open(MAIL)
    assert await refused.read() == b""
    assert refused.refusal is not None
    assert refused.refusal.cause is Cause.TOO_MANY
    honest = await link(nodes, "m2", address)
    await honest.open(MAIL)
    await until(lambda: len(mail.sessions) == 3)
    over.set()
    await until(lambda: not len(mail.sessions))
    assert not mail._counts


async def link(nodes: Nodes, name: str, address: Peer) -> Link:
    tls = context(nodes.authority, name, Role.MX_IN, server=False)
    return await nodes.links(replace(FRONTEND, name=name), tls).to(address)
