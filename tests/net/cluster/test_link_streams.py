"""A stream of a link keeps what every stream promises, and knows its client."""

import asyncio
import ssl

import pytest

from rookery.access.frontend.relay import relay
from rookery.base.clock import ManualClock
from rookery.base.errors import Cause, Refusal
from rookery.net.cluster.link import CLOSING_BEATS
from rookery.net.cluster.stream import WRITE_LIMIT, LinkStream
from rookery.net.memory import memory_pipe
from rookery.net.stream import Interrupted, Peer, TlsFacts
from rookery.net.wheel import Wheel
from rookery.wire.cluster.values import WINDOW, Preface, Referral, Tls
from rookery.wire.proxy import Endpoint
from tests.net.cluster.nodes import Nodes, turns
from tests.net.test_streams import (  # noqa: F401  they run here too, with the fixtures below
    read_all,
    test_a_cancelled_reader_leaves_the_stream_whole,
    test_a_reader_is_interrupted_at_once_or_the_next_time,
    test_a_reader_that_waits_is_told_of_the_end,
    test_drain_has_the_same_limit,
    test_drain_waits_for_a_slow_peer,
    test_idle_limit_and_deadline,
    test_octets_arrive_in_order_both_ways,
    test_the_end_comes_after_everything_written,
)
from tests.net.turns import until

PREFACE = Preface(
    "imap",
    bytes(range(16)),
    Endpoint("2001:db8::7", 4711),
    Endpoint("192.0.2.1", 993),
    Tls("TLSv1.3", "TLS_AES_256_GCM_SHA384", "mail.example.org"),
    "s1",
)
Pair = tuple[LinkStream, LinkStream]


@pytest.fixture
def clock(nodes: Nodes) -> ManualClock:
    return nodes.clock


@pytest.fixture
def wheel(nodes: Nodes) -> Wheel:
    return nodes.wheel


@pytest.fixture
async def pair(nodes: Nodes) -> Pair:
    return await nodes.pair(PREFACE)


async def test_the_stream_is_the_clients(pair: Pair) -> None:
    near, far = pair
    assert far.peer == Peer("2001:db8::7", 4711)
    assert far.local == Peer("192.0.2.1", 993)
    assert far.tls == TlsFacts("TLSv1.3", "TLS_AES_256_GCM_SHA384", "mail.example.org")
    assert far.preface == PREFACE
    assert near.peer.address == "127.0.0.1"
    assert near.tls is not None
    assert near.tls.version == "TLSv1.3"
    with pytest.raises(ConnectionError):
        await far.start_tls(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), server_side=True)


async def test_a_preface_without_client_or_tls_has_none(nodes: Nodes) -> None:
    _, far = await nodes.pair(Preface("lmtp"))
    assert (far.peer, far.local, far.tls) == (Peer(""), Peer(""), None)


async def test_what_ended_both_ways_leaves_nothing(nodes: Nodes, pair: Pair) -> None:
    near, far = pair
    near.write(b"all")
    near.close()
    assert near.gone
    assert await far.read() == b"all"
    assert await far.read() == b""
    assert not far.gone, "it may still answer"
    far.close()
    link = nodes.opened[0][0]
    await until(lambda: near._over and link.idle)
    assert near.refusal is far.refusal is None
    assert link.streams == 0


async def test_much_goes_through_a_window_in_order(pair: Pair) -> None:
    near, far = pair
    sent = bytes(range(256)) * 8 * 1024

    async def write() -> None:
        for at in range(0, len(sent), 50_000):
            near.write(sent[at : at + 50_000])
            await near.drain()
        near.close()

    writing = asyncio.ensure_future(write())
    assert await read_all(far, len(sent) + 1) == sent
    await writing


async def test_without_credit_what_is_written_waits_here(pair: Pair) -> None:
    near, far = pair
    near.write(bytes(WINDOW + WRITE_LIMIT))
    await turns()
    assert not near.unsent
    near.write(b"x")
    assert near.unsent
    await until(lambda: len(far._data) == WINDOW)
    await turns()
    assert len(far._data) == WINDOW
    assert len(await read_all(far, WINDOW + WRITE_LIMIT + 1)) == WINDOW + WRITE_LIMIT + 1
    await until(lambda: not near.unsent)


async def test_what_was_closed_is_still_sent_as_it_is_read(pair: Pair) -> None:
    near, far = pair
    near.write(bytes(3 * WINDOW))
    near.close()
    near.write(b"too late")
    assert len(await read_all(far, 4 * WINDOW)) == 3 * WINDOW


async def test_a_reset_tells_why_and_drops_what_was_not_read(pair: Pair) -> None:
    near, far = pair
    near.write(b"unread")
    await until(lambda: bool(far._data))
    reading = asyncio.ensure_future(near.read())
    await turns()
    near.reset(Refusal(Cause.DENIED, "no more"))
    await until(lambda: far.gone)
    assert far.refusal == Refusal(Cause.DENIED, "no more")
    assert await far.read() == b""
    assert await reading == b""
    near.abort()
    far.abort()


async def test_a_referral_comes_after_what_was_written(pair: Pair) -> None:
    near, far = pair
    referral = Referral("b2", Endpoint("192.0.2.2", 9000), b"what the session knows")
    far.write(bytes(2 * WINDOW))
    far.refer(referral)
    far.write(b"too late")
    assert len(await read_all(near, 3 * WINDOW)) == 2 * WINDOW
    assert near.referral == referral
    assert near.gone
    assert near.refusal is None


async def test_a_peer_that_does_not_end_what_we_closed_is_cut_off(nodes: Nodes, pair: Pair) -> None:
    near, far = pair
    near.close()
    assert await far.read() == b""
    for _ in range(CLOSING_BEATS):
        assert not far.gone
        await nodes.beat()
        far.write(b"still here")
    await until(lambda: far.gone)
    assert far.refusal is not None
    assert near._over


async def test_a_peer_that_reads_nothing_after_close_is_cut_off(nodes: Nodes, pair: Pair) -> None:
    near, far = pair
    near.write(bytes(2 * WINDOW))
    near.close()
    await nodes.beat(CLOSING_BEATS + 1)
    await until(lambda: far.gone)
    assert near._unsent == 0
    assert nodes.opened[0][0].idle


async def test_a_client_that_is_interrupted_has_its_host_come_to_an_end(pair: Pair, wheel: Wheel) -> None:
    """Instead of losing the host's last word; also when it was interrupted before it was passed on."""
    near, far = pair
    client, program = memory_pipe(wheel=wheel)
    client.interrupt()
    relaying = asyncio.create_task(relay(client, near))
    program.write(b"a command that has begun")
    assert await read_all(far, 24) == b"a command that has begun"
    with pytest.raises(Interrupted):
        await far.read()
    far.write(b"answered, and goodbye")
    far.close()
    assert await read_all(program, 21) == b"answered, and goodbye"
    await relaying
    assert await program.read() == b""
