"""With the disk and the key of a node: what somebody who has stolen them may ask of the others."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from rookery.base.errors import Cause, RookeryError
from rookery.distribution.cluster.certificates import member_of
from rookery.distribution.cluster.contexts import Contexts
from rookery.distribution.cluster.files import ClusterFiles
from rookery.distribution.service.calls import Question, decode_answer, encode
from rookery.net.cluster.link import Link
from rookery.net.cluster.links import Links
from rookery.net.cluster.node import Node, Service
from rookery.net.stream import Peer
from rookery.net.wheel import shared_wheel
from rookery.wire.cluster.values import Preface


def as_thief(folder: Path, port: int, work: Callable[[Link], Awaitable[None]]) -> None:
    """`folder`: of the stolen site. `port`: a cluster port of this machine."""

    async def steal() -> None:
        contexts = Contexts(ClusterFiles(folder / "cluster"))
        name, id = contexts.state.member.name, contexts.state.cluster
        node = Node(id, name, "0.1.0", lambda der: member_of(der, id))
        links = Links(node, Service(), contexts.client, wheel=shared_wheel())
        try:
            await work(await links.to(Peer("127.0.0.1", port)))
        finally:
            await links.close()

    asyncio.run(steal())


async def opened(link: Link, preface: Preface) -> Cause | None:
    """Why the stream was not taken; None: it was."""
    stream = await link.open(preface)
    said = await asyncio.wait_for(stream.read(), 30)
    if said:
        stream.abort()
        return None
    assert stream.refusal is not None
    return stream.refusal.cause


async def refused(link: Link, question: Question, kind: type) -> Cause:
    with pytest.raises(RookeryError) as told:
        decode_answer(await link.call(encode(question), 30), kind)
    return told.value.cause
