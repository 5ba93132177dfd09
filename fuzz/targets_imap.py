"""Targets of the IMAP engine: whatever comes, however it is cut, the events and the output are the same."""

from itertools import pairwise

from rookery.wire.imap.commands import Fetch
from rookery.wire.imap.engine import Engine
from rookery.wire.imap.events import Event, LiteralChunk, LiteralStart, Malformed
from rookery.wire.imap.limits import AFTER_LOGIN
from rookery.wire.imap.sequence import parse_sequence

from .target import Target, require

_MODES = ("new", "selected", "utf8", "sasl", "idle")


def _engine(mode: str) -> Engine:
    engine = Engine()
    if mode != "new":
        engine.log_in()
        engine.select()
    engine.utf8 = mode == "utf8"
    if mode == "sasl":
        engine.challenge(b"")
    elif mode == "idle":
        engine.idle()
    return engine


def _feed(engine: Engine, data: bytes, found: list[Event]) -> None:
    while events := engine.receive(data):
        data = b""
        for event in events:
            if isinstance(event, LiteralStart):
                if event.append.size % 3 == 2:
                    engine.refuse_literal(b"x NO\r\n")
                else:
                    engine.accept_literal()
            if isinstance(event, LiteralChunk) and found and isinstance(found[-1], LiteralChunk):
                found[-1] = LiteralChunk(found[-1].data + event.data)
            else:
                found.append(event)
    require(len(engine.leftover()) <= AFTER_LOGIN.command + AFTER_LOGIN.line, "the engine gathers without bound")


def _cuts(data: bytes, step: int) -> list[bytes]:
    return [data[low:high] for low, high in pairwise([*range(0, len(data), step), len(data)])]


def engine(data: bytes) -> None:
    """The first octet chooses the mode and the second how the input is cut."""
    mode, step, data = (
        _MODES[data[0] % len(_MODES)] if data else "new",
        1 + (data[1] % 16 if len(data) > 1 else 0),
        data[2:],
    )
    results = []
    for pieces in ([data], _cuts(data, step)):
        made, found = _engine(mode), list[Event]()
        for piece in pieces:
            _feed(made, piece, found)
        results.append((found, made.outgoing(), made.wants, made.state))
    require(results[0] == results[1], "input in pieces is understood in another way")
    for event in results[0][0]:
        if isinstance(event, Malformed):
            require(event.answer.endswith(b"\r\n") and event.answer.isascii(), "an answer that is no response")
            require(event.answer.count(b"\r\n") == 1 + event.close, "an answer of too many lines")


def arguments(data: bytes) -> None:
    """One selected command from the start; what a FETCH asks for is the same when asked by its answer's label."""
    made, found = _engine("selected"), list[Event]()
    _feed(made, b"a " + data.replace(b"\n", b"") + b"\r\n", found)
    for event in found:
        command = getattr(event, "command", None)
        if isinstance(command, Fetch):
            for item in command.items:
                label = getattr(item, "label", b"")
                if label.startswith(b"BODY[") and b"<" not in label and b'"' not in label:
                    again = list[Event]()
                    _feed(_engine("selected"), b"a FETCH 1 " + label + b"\r\n", again)
                    (read,) = again[0].command.items  # type: ignore[union-attr]
                    require(read.section == item.section, "a label that means something else")


def sequence(data: bytes) -> None:
    try:
        made = parse_sequence(data)
    except ValueError:
        return
    require(parse_sequence(str(made).encode()) == made, "a sequence set that does not come back")
    for largest in (0, 1, 1000):
        for low, high in made.resolve(largest).ranges:
            require(1 <= low <= high, "a range the wrong way round")


_LINES = (
    b"LOGIN {5}\r\nalice {3+}\r\nfoo\r\n",
    b'APPEND "Sent" (\\Seen) "17-Jul-1996 02:44:25 -0700" {6}\r\nhello\r\r\n',
    b"APPEND x UTF8 (~{4+}\r\nabcd)\r\n",
    b'LIST (SUBSCRIBED) "" (% "INBOX/*") RETURN (CHILDREN STATUS (MESSAGES))\r\n',
    b"UID FETCH 1:* (FLAGS BODY.PEEK[1.2.HEADER.FIELDS (From To)]<0.100> BINARY.SIZE[1]) (CHANGEDSINCE 1 VANISHED)\r\n",
    b"SEARCH RETURN (MIN) CHARSET UTF-8 OR FROM x NOT (SENTSINCE 1-Feb-2020 UID 1:*) HEADER a {1+}\r\nb\r\n",
    b"STORE 1 (UNCHANGEDSINCE 3) +FLAGS.SILENT (\\Seen x)\r\n",
    b"SELECT a (QRESYNC (1 2 3:4 (5 6)))\r\n",
    b'ID ("a" NIL)\r\nb CREATE "&AAA-" (USE (\\Sent))\r\n',
)
_WORDS = (
    b"\r\n",
    b"{3}\r\n",
    b"{3+}\r\n",
    b"~{3+}\r\n",
    b"FETCH 1 ",
    b"SEARCH ",
    b"APPEND x ",
    b"BODY[",
    b"HEADER.FIELDS (",
)

TARGETS = (
    Target("imap", engine, tuple(bytes((1, 3)) + b"a " + line for line in _LINES), _WORDS),
    Target("imap-arguments", arguments, tuple(line.partition(b"\r\n")[0] for line in _LINES), _WORDS),
    Target("imap-sequence", sequence, (b"1:*,3,5:4", b"$"), (b"*", b",", b":")),
)
