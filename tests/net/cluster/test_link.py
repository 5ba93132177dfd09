"""One connection between two nodes: calls, signals, beats, and how it ends."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from rookery.base.errors import Cause, Refusal, RookeryError
from rookery.base.log import captured
from rookery.net.cluster.link import SILENCE, Link
from rookery.net.cluster.links import REVOKED
from rookery.net.cluster.member import Role
from rookery.net.cluster.node import Node, Service
from rookery.wire.cluster.values import Preface, Signal
from tests.net.cluster.nodes import BACKEND, FRONTEND, Nodes, Raw, turns
from tests.net.turns import until

PREFACE = Preface("imap")


async def backend_link(nodes: Nodes, backend: Node = BACKEND) -> tuple[Link, Link]:
    """(f1's, b1's) end of one connection."""
    near = await nodes.links().to(nodes.port(backend))
    await until(lambda: nodes.ports[0].named("f1") is not None)
    far = nodes.ports[0].named("f1")
    assert far is not None
    return near, far


async def failing(link: Link, payload: bytes = b"?", timeout: float = 20) -> RookeryError:
    with pytest.raises(RookeryError) as caught:
        await link.call(payload, timeout)
    return caught.value


async def test_each_knows_who_the_other_is(nodes: Nodes) -> None:
    near, far = await backend_link(nodes)
    assert (near.peer.name, set(near.peer.roles), near.dialled) == ("b1", {Role.BACKEND}, True)
    assert (far.peer.name, set(far.peer.roles), far.dialled) == ("f1", {Role.FRONTEND}, False)
    assert near.address == far.local
    assert near.tls is not None
    assert near.tls.version == "TLSv1.3"


# --- streams and calls


async def test_a_thousand_streams_share_the_connection_and_each_turn_is_one_write(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    near, far = await backend_link(nodes)
    writes: list[int] = []

    class Counting:
        def __getattr__(self, name: str) -> Any:
            return getattr(transport, name)

        def write(self, data: bytes) -> None:
            writes.append(len(data))
            transport.write(data)

    transport = near._transport
    monkeypatch.setattr(near, "_transport", Counting())
    streams = [await near.open(PREFACE) for _ in range(1000)]
    for number, stream in enumerate(streams):
        stream.write(str(number).encode())
    await until(lambda: len(nodes.opened) == 1000)
    assert len(writes) == 1
    for _, _, stream in nodes.opened:
        stream.write(await stream.read())
        stream.close()
    assert [await stream.read() for stream in streams] == [str(number).encode() for number in range(1000)]
    for stream in streams:
        stream.close()
    await until(lambda: near.idle and far.idle)


async def test_either_side_opens_and_calls(nodes: Nodes) -> None:
    taken = []

    async def answer(link: Link, payload: bytes) -> bytes:
        return b"f1: " + payload

    address = nodes.port()
    links = nodes.links(service=Service(lambda link, preface, stream: taken.append((link, preface, stream)), answer))
    near = await links.to(address)
    await until(lambda: nodes.ports[0].named("f1") is not None)
    far = nodes.ports[0].named("f1")
    assert far is not None
    assert await asyncio.gather(near.call(b"abc", 20), far.call(b"abc", 20)) == [b"cba", b"f1: abc"]
    stream = await far.open(Preface("lmtp"))
    stream.write(b"LHLO")
    await until(lambda: bool(taken))
    assert taken[0][0] is near
    assert await taken[0][2].read() == b"LHLO"


async def test_a_stream_that_is_refused_says_why(nodes: Nodes) -> None:
    near, far = await backend_link(nodes)
    stream = await far.open(Preface("lmtp"))  # f1 takes none
    assert await stream.read() == b""
    assert stream.refusal == Refusal(Cause.UNSUPPORTED, "no lmtp here")
    assert near.idle
    assert not far.closed


async def test_a_service_that_fails_costs_one_stream(nodes: Nodes) -> None:
    def fail(link: Link, *arguments: object) -> None:
        raise KeyError("a bug")

    failures: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: failures.append(context))
    near = await nodes.links(service=Service(fail, signalled=fail)).to(nodes.port())
    await until(lambda: nodes.ports[0].named("f1") is not None)
    far = nodes.ports[0].named("f1")
    assert far is not None
    stream = await far.open(PREFACE)
    far.signal(Signal("ban"))
    assert await stream.read() == b""
    assert stream.refusal == Refusal(Cause.UNAVAILABLE, "serving it failed")
    await until(lambda: len(failures) == 2)
    assert {type(failure["exception"]) for failure in failures} == {KeyError}
    assert near.usable
    assert near.idle


async def test_calls_are_answered_whatever_the_order_and_refused_by_name(nodes: Nodes) -> None:
    near, far = await backend_link(nodes)
    calls = [near.call(b"%d" % number, 20) for number in range(300)]
    assert await asyncio.gather(*calls) == [(b"%d" % number)[::-1] for number in range(300)]
    error = await failing(far)
    assert (error.cause, error.what) == (Cause.UNSUPPORTED, "no calls here")
    with captured() as events:
        error = await failing(near, b"bug")
    assert (error.cause, error.what) == (Cause.UNAVAILABLE, "serving it failed")
    assert ("cluster", "call-failed") in [event[:2] for event in events]
    assert near.idle


async def test_a_call_that_is_not_answered_in_time_is_given_up_on_both_sides(nodes: Nodes) -> None:
    near, far = await backend_link(nodes)
    nodes.answering.clear()
    error = await failing(near, timeout=0.05)
    assert (error.cause, error.what) == (Cause.UNAVAILABLE, "no answer in 0.05 s")
    await until(lambda: nodes.cancelled == 1 and far.idle)
    calling = asyncio.ensure_future(near.call(b"?", 20))
    await until(lambda: nodes.asked == 2)
    calling.cancel()
    await until(lambda: nodes.cancelled == 2 and far.idle)
    nodes.answering.set()
    assert await near.call(b"ab", 20) == b"ba"


async def test_what_is_too_big_is_refused_before_it_is_sent(nodes: Nodes) -> None:
    near, _ = await backend_link(nodes)
    assert (await failing(near, bytes(70_000))).cause is Cause.TOO_BIG
    assert near.idle


async def test_signals_arrive_in_order(nodes: Nodes) -> None:
    near, _ = await backend_link(nodes)
    signals = [Signal("ban", b"%d" % number) for number in range(10)]
    for signal in signals:
        near.signal(signal)
    await until(lambda: nodes.signals == signals)


# --- beats


async def test_two_that_hear_each_other_stay(nodes: Nodes) -> None:
    near, far = await backend_link(nodes)
    for _ in range(3 * SILENCE):
        await nodes.beat()
        await until(lambda: near._silent == far._silent == 0)
    assert near.usable
    assert far.usable


async def test_one_that_is_silent_is_lost_with_all_that_is_on_it(nodes: Nodes) -> None:
    raw = await Raw.dial(nodes, nodes.port())
    stream = await raw.open(nodes)
    link = nodes.opened[0][0]
    reading = asyncio.ensure_future(stream.read())
    calling = asyncio.ensure_future(failing(link))
    await turns()
    await nodes.beat(SILENCE)
    assert link.usable
    await nodes.beat()
    assert await reading == b""
    error = await calling
    assert (error.cause, error.what) == (Cause.UNAVAILABLE, "silent for 3 s")
    assert link.closed
    assert stream.gone
    assert stream.refusal == error.refusal
    assert stream.now() == nodes.clock.monotonic()
    with pytest.raises(RookeryError, match="silent"):
        await link.open(PREFACE)
    await raw.rest()
    await until(lambda: not len(nodes.ports[0]))
    assert len(nodes.wheel) == 0


async def test_any_octet_shows_that_a_peer_lives(nodes: Nodes) -> None:
    raw = await Raw.dial(nodes, nodes.port())
    await raw.open(nodes)
    link = nodes.opened[0][0]
    for _ in range(2 * SILENCE):
        await nodes.beat()
        raw.say(b"\0\0\0\x90\0\0\0\0")
        await until(lambda: link._silent == 0)
    assert link.usable
    raw.close()


async def test_a_loop_that_was_held_up_does_not_lose_its_peer(nodes: Nodes) -> None:
    near, far = await backend_link(nodes)
    nodes.clock.advance(60)
    nodes.wheel.tick()
    await turns()
    assert near.usable
    assert far.usable


# --- the end


async def test_a_connection_that_breaks_ends_everything_on_it(nodes: Nodes) -> None:
    near, far = await backend_link(nodes)
    nodes.answering.clear()
    mine, theirs = await nodes.pair(PREFACE, near)
    theirs.write(b"arrived before")
    await until(lambda: bool(mine._data))
    calling = asyncio.ensure_future(failing(near))
    await until(lambda: nodes.asked == 1)
    far.abort()
    assert (await calling).cause is Cause.UNAVAILABLE
    assert await mine.read() == b"arrived before"
    assert await mine.read() == b""
    assert mine.gone
    assert theirs.gone
    await until(lambda: nodes.cancelled == 1)
    await until(lambda: not len(nodes.dialled[0]) + len(nodes.ports[0]))
    mine.write(b"nobody there")
    await mine.drain()
    near.signal(Signal("ban"))
    near.goodbye("")
    near.end(REVOKED)


async def test_after_goodbye_streams_end_in_peace_and_then_the_link(nodes: Nodes) -> None:
    near, far = await backend_link(nodes)
    mine, theirs = await nodes.pair(PREFACE, near)
    far.goodbye("the node is drained")
    await until(lambda: not near.usable)
    with pytest.raises(RookeryError, match="nothing new"):
        await near.open(PREFACE)
    assert (await failing(near)).cause is Cause.UNAVAILABLE
    mine.write(b"the rest")
    mine.close()
    assert await theirs.read() == b"the rest"
    assert not far.closed
    theirs.close()
    await until(lambda: near.closed and far.closed)
    await until(lambda: not len(nodes.dialled[0]) + len(nodes.ports[0]))


async def test_who_is_revoked_is_cut_off_at_once(nodes: Nodes) -> None:
    revoked = {"f2"}
    near, far = await backend_link(nodes, replace(BACKEND, admit=lambda member: member.name not in revoked))
    mine, theirs = await nodes.pair(PREFACE, near)
    nodes.ports[0].sweep()
    assert far.usable
    revoked.add("f1")
    nodes.ports[0].sweep()
    assert theirs.gone
    assert theirs.refusal == REVOKED
    assert far.closed
    await until(lambda: near.closed and mine.gone)
    assert mine.refusal == Refusal(Cause.UNAVAILABLE, REVOKED.what)
    await until(lambda: not len(nodes.dialled[0]) + len(nodes.ports[0]))


async def test_a_revoked_host_is_left_at_once_too(nodes: Nodes) -> None:
    revoked: set[str] = set()
    near = await nodes.links(replace(FRONTEND, admit=lambda member: member.name not in revoked)).to(nodes.port())
    revoked.add("b1")
    nodes.dialled[0].sweep()
    assert near.closed
    await until(lambda: not len(nodes.ports[0]))


@pytest.mark.parametrize("backend", [True, False])
async def test_who_calls_itself_by_anothers_name_is_refused(nodes: Nodes, backend: bool) -> None:
    address = nodes.port(replace(BACKEND, name="b2") if backend else BACKEND)
    links = nodes.links(replace(FRONTEND, name="f2") if not backend else FRONTEND)
    if backend:
        with pytest.raises(RookeryError) as caught:
            await links.to(address)
        assert caught.value.refusal == Refusal(Cause.DENIED, "the certificate of b1 calls itself b2")
    else:
        try:
            link = await links.to(address)  # b1 says HELLO before it hears ours
        except RookeryError:
            pass
        else:
            await until(lambda: link.closed)
    await until(lambda: not len(nodes.ports[0]))
    assert not nodes.opened
