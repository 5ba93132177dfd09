"""A node that was taken over does its worst on the cluster port: nothing grows, and others are served."""

import asyncio
import gc
import warnings
from dataclasses import replace

import pytest

from rookery.base.errors import Cause, Refusal
from rookery.net.cluster.link import TURN
from rookery.wire.cluster.frames import Kind, frame, header
from rookery.wire.cluster.speaking import Limits
from rookery.wire.cluster.values import WINDOW, Preface, encode, encode_refusal
from tests.net.cluster.nodes import BACKEND, FRONTEND, Nodes, Raw, turns
from tests.net.turns import until

BLOCK = bytes(64 * 1024)
OPEN = encode(Preface("imap"))
RESET = encode_refusal(Refusal(Cause.UNAVAILABLE))


@pytest.mark.parametrize(
    ("octets", "reason"),
    [
        (frame(Kind.DATA, 1, BLOCK) * (WINDOW // len(BLOCK)) + frame(Kind.DATA, 1, b"x"), "beyond the window"),
        (header(Kind.CALL, 3, 2**24 - 1), "16777215 octets"),
        (b"\x16\x03\x01 what is this?" * 10, "unknown type"),
    ],
)
async def test_who_breaks_a_rule_is_cut_off_and_others_go_on(nodes: Nodes, octets: bytes, reason: str) -> None:
    address = nodes.port()
    other = await nodes.links().to(address)
    raw = await Raw.dial(nodes, address)
    stream = await raw.open(nodes)
    raw.say(octets)
    await raw.rest()
    assert stream.refusal is not None
    assert reason in stream.refusal.what
    await until(lambda: len(nodes.ports[0]) == 1)
    assert await other.call(b"ab", 20) == b"ba"


async def test_nothing_is_taken_from_who_calls_itself_by_anothers_name(nodes: Nodes) -> None:
    raw = await Raw.dial(nodes, nodes.port(), hello=False)
    name = encode(replace(FRONTEND, name="b1").hello())
    raw.say(frame(Kind.HELLO, 0, name) + frame(Kind.OPEN, 1, OPEN) + frame(Kind.CALL, 3, b"?"))
    assert b"the certificate of f1 calls itself b1" in await raw.rest()
    await until(lambda: not len(nodes.ports[0]))
    assert not nodes.opened
    assert not nodes.asked


async def test_endless_opens_are_refused(nodes: Nodes) -> None:
    raw = await Raw.dial(nodes, nodes.port(replace(BACKEND, limits=Limits(streams=20))))
    raw.say(b"".join(frame(Kind.OPEN, number, OPEN) for number in range(1, 10_001, 2)))
    raw.say(frame(Kind.CALL, 10_001, b"still there?"))
    while b"?ereht llits" not in await raw.reader.read(65536):
        pass
    assert len(nodes.opened) == 20
    link = nodes.opened[0][0]
    assert link.streams == len(link._streams) == 20
    raw.close()
    await until(lambda: all(stream.gone for _, _, stream in nodes.opened))


async def test_what_was_sent_on_streams_that_are_reset_is_not_kept(nodes: Nodes) -> None:
    raw = await Raw.dial(nodes, nodes.port())
    for number in range(1, 101, 2):
        stream = await raw.open(nodes, number)
        raw.say(frame(Kind.DATA, number, BLOCK) + frame(Kind.RESET, number, RESET))
        await until(lambda stream=stream: stream.gone)  # type: ignore[misc]
    assert not sum(len(stream._data) for _, _, stream in nodes.opened)
    assert nodes.opened[0][0].idle
    raw.close()


async def test_streams_that_are_reset_at_once_are_nobodys(nodes: Nodes) -> None:
    raw = await Raw.dial(nodes, nodes.port())
    at_once = b"".join(frame(Kind.OPEN, n, OPEN) + frame(Kind.RESET, n, RESET) for n in range(1, 1001, 2))
    raw.say(at_once + frame(Kind.PING, 0, b"12345678"))
    while b"12345678" not in await raw.reader.read(65536):
        pass
    assert len(nodes.opened) < 100, "but for those that were cut apart on their way"
    assert all(stream.gone for _, _, stream in nodes.opened)
    raw.close()


async def test_calls_that_are_given_up_at_once_leave_nothing(nodes: Nodes) -> None:
    raw = await Raw.dial(nodes, nodes.port())
    await raw.open(nodes)
    link = nodes.opened[0][0]
    nodes.answering.clear()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        raw.say(b"".join(frame(Kind.CALL, n, b"?") + frame(Kind.RESET, n, RESET) for n in range(3, 2003, 2)))
        raw.say(frame(Kind.PING, 0, b"12345678"))
        while b"12345678" not in await raw.reader.read(65536):
            pass
        await turns()
        gc.collect()
    assert not link._calls._answering
    raw.close()


async def test_calls_that_are_never_answered_are_so_many_and_no_more(nodes: Nodes) -> None:
    raw = await Raw.dial(nodes, nodes.port(replace(BACKEND, limits=Limits(calls=10))))
    await raw.open(nodes)
    nodes.answering.clear()
    raw.say(b"".join(frame(Kind.CALL, number, b"?") for number in range(3, 2003, 2)))
    raw.say(frame(Kind.PING, 0, b"12345678"))
    while b"12345678" not in await raw.reader.read(65536):
        pass
    await until(lambda: nodes.asked == 10)
    raw.close()
    await until(lambda: nodes.cancelled == 10)


async def test_a_flood_of_pings_is_answered_with_few_octets(nodes: Nodes) -> None:
    raw = await Raw.dial(nodes, nodes.port())
    await raw.open(nodes)
    for _ in range(50):
        raw.say(frame(Kind.PING, 0, b"flooding") * 1000)
        await raw.writer.drain()
    raw.say(frame(Kind.PING, 0, b"the last") + frame(0x90))  # type: ignore[arg-type]
    answers = b""
    while b"the last" not in answers:
        answers += await raw.reader.read(65536)
    assert len(answers) < 50_000 * 16 / 5
    raw.close()


# --- a peer that does not read


async def unread(nodes: Nodes, streams: int) -> Raw:
    """A peer that has opened so many streams and reads no more."""
    raw = await Raw.dial(nodes, nodes.port())
    raw.writer.transport.pause_reading()  # type: ignore[attr-defined]
    raw.say(b"".join(frame(Kind.OPEN, number, OPEN) for number in range(1, 2 * streams, 2)))
    await until(lambda: len(nodes.opened) == streams)
    return raw


async def test_what_it_does_not_read_waits_in_its_streams(nodes: Nodes) -> None:
    raw = await unread(nodes, 100)
    link = nodes.opened[0][0]
    for _, _, stream in nodes.opened:
        stream.write(bytes(WINDOW))
    await until(lambda: not link._flowing.is_set())
    await turns()
    assert link._transport.get_write_buffer_size() <= 4 * TURN
    assert sum(stream.unsent for _, _, stream in nodes.opened) > 50
    raw.writer.transport.resume_reading()  # type: ignore[attr-defined]
    received = 0
    while received < 100 * WINDOW:
        received += len(await raw.reader.read(1024 * 1024))
    assert not sum(stream.unsent for _, _, stream in nodes.opened)
    raw.close()


async def test_its_answers_wait_and_so_do_our_calls(nodes: Nodes) -> None:
    raw = await unread(nodes, 1)
    link = nodes.opened[0][0]
    await until(lambda: link.usable)
    for number in range(3, 1003, 2):
        raw.say(frame(Kind.CALL, number, bytes(60_000)))
        await raw.writer.drain()
    await until(lambda: nodes.asked == 500)
    await until(lambda: not link._flowing.is_set())
    await turns()
    assert link._transport.get_write_buffer_size() <= 500 * 60_000 / 3
    assert link._calls._answering
    calling = asyncio.ensure_future(link.call(b"?", 20))
    await turns()
    assert not link._calls._ours
    raw.close()
    with pytest.raises(Exception, match="connection"):
        await calling
    await until(lambda: not link._calls._answering)


async def test_who_makes_us_talk_and_does_not_listen_is_cut_off(nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rookery.net.cluster.link.OVERDUE", TURN + 50_000)
    raw = await unread(nodes, 50)
    link = nodes.opened[0][0]
    for _, _, stream in nodes.opened:
        stream.write(bytes(WINDOW))
    await until(lambda: not link._flowing.is_set())
    for start in range(101, 200_001, 1000):
        if link.closed:
            break
        raw.say(b"".join(frame(Kind.OPEN, number, b"\xc1") for number in range(start, start + 1000, 2)))
        await turns(3)
    await until(lambda: link.closed)
    assert link.refusal is not None
    assert link.refusal.what == "it does not read"
    raw.close()


async def test_two_that_both_write_much_do_not_wait_for_each_other(nodes: Nodes) -> None:
    link = await nodes.link()
    pairs = [await nodes.pair(Preface("imap"), link) for _ in range(20)]
    ends = [end for pair in pairs for end in pair]

    async def write(at: int) -> None:
        for _ in range(10):
            ends[at].write(BLOCK)
            await ends[at].drain()

    async def read(at: int) -> int:
        octets = 0
        while octets < 10 * len(BLOCK):
            octets += len(await ends[at].read())
        return octets

    numbers = range(len(ends))
    async with asyncio.timeout(60):
        read_octets, _ = await asyncio.gather(
            asyncio.gather(*(read(at) for at in numbers)), asyncio.gather(*(write(at) for at in numbers))
        )
    assert read_octets == [10 * len(BLOCK)] * len(ends)
