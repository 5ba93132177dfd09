"""Drives an engine as the pump does, accepting every announced message."""

from collections.abc import Iterable

from rookery.wire.imap.engine import Engine
from rookery.wire.imap.events import Event, LiteralChunk, LiteralEnd, LiteralStart, Malformed, Request


def new_engine(state: str = "selected", **options: bool) -> Engine:
    engine = Engine(**options)
    if state != "new":
        engine.log_in()
    if state == "selected":
        engine.select()
    return engine


def feed(engine: Engine, data: bytes) -> list[Event]:
    """Events of `data`, with neighbouring chunks of a literal joined."""
    found: list[Event] = []
    while events := engine.receive(data):
        data = b""
        for event in events:
            if isinstance(event, LiteralStart):
                engine.accept_literal()
            found.append(event)
    return found


def feed_pieces(engine: Engine, pieces: Iterable[bytes]) -> list[Event]:
    return joined([event for piece in pieces for event in feed(engine, piece)])


def joined(events: list[Event]) -> list[Event]:
    found: list[Event] = []
    for event in events:
        if isinstance(event, LiteralChunk) and found and isinstance(found[-1], LiteralChunk):
            found[-1] = LiteralChunk(found[-1].data + event.data)
        else:
            found.append(event)
    return found


def three_ways(data: bytes, state: str = "selected", **options: bool) -> tuple[list[Event], bytes]:
    """Events and output of `data` fed whole, octet by octet, and in two parts, which must all be the same."""
    results = []
    for pieces in (
        [data],
        [data[i : i + 1] for i in range(len(data))],
        [data[: len(data) // 2], data[len(data) // 2 :]],
    ):
        engine = new_engine(state, **options)
        results.append((feed_pieces(engine, pieces), engine.outgoing()))
    assert results[0] == results[1] == results[2]
    return results[0]


def one(data: bytes, state: str = "selected", **options: bool) -> Request:
    """The one command that `data` (without CRLF) is."""
    events, _ = three_ways(data + b"\r\n", state, **options)
    assert len(events) == 1, events
    assert isinstance(events[0], Request), events
    return events[0]


def refused(data: bytes, state: str = "selected", **options: bool) -> Malformed:
    """The complaint that `data` (without CRLF) earns."""
    events, _ = three_ways(data + b"\r\n", state, **options)
    assert len(events) == 1, events
    assert isinstance(events[0], Malformed), events
    return events[0]


__all__ = ["LiteralEnd", "feed", "feed_pieces", "joined", "new_engine", "one", "refused", "three_ways"]
