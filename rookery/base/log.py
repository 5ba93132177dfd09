"""One structured line an event: JSON or text, RFC 3339 time with offset, to standard error or a file.

    log = logger("smtp")
    log.info("accepted", session=session, message=message_id, size=size)

A line is an event name and fields, never a sentence with data pasted in; `session` and `message` run through the whole
path, so that one grep tells a message's story. What may not be logged cannot be: octets are refused, fields named like
secrets are hidden, long values are cut, and whatever does not print is escaped, so that no peer can forge a line.

Lines are gathered in memory and written by a thread of their own every 50 ms: a stuck terminal or a full disk costs
lines (they are counted and the count is logged), never service.
"""

import atexit
import os
import re
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import Enum, IntEnum
from pathlib import Path
from typing import TypeAlias

import msgspec

from rookery.base.errors import Fault, Refusal

Field: TypeAlias = str | int | float | bool | Sequence[str] | None

VALUE_LIMIT = 500  # characters of one value
LIST_LIMIT = 50  # members of one list
WAITING_LIMIT = 100_000  # lines gathered and not yet written; more are dropped and counted
WRITE_INTERVAL = 0.05  # seconds
RECENT_LIMIT = 8 * 1024 * 1024  # octets of lines kept in memory when no file keeps them, for `rookery trace`

_HIDDEN = frozenset(
    {"password", "passwd", "secret", "token", "authorization", "credential", "credentials", "body", "content"}
)


class Level(IntEnum):
    DEBUG = 10
    INFO = 20
    WARNING = 30
    ERROR = 40


class Format(Enum):
    JSON = "json"
    TEXT = "text"


_DEBUG, _INFO, _WARNING, _ERROR = 10, 20, 30, 40
_NAMES = {10: "debug", 20: "info", 30: "warning", 40: "error"}
_FAULT_LEVELS = {Fault.PEER: _INFO, Fault.USER: _INFO, Fault.US: _WARNING}


class Logger:
    """The log of one component. Get one with `logger(component)`; safe to use from any thread.

    `counts`: how often each event above debug happened, written or not; read by the metrics. (Two threads that log the
    same event at the same moment may lose a step.)
    """

    __slots__ = ("component", "counts", "level")

    def __init__(self, component: str, level: int) -> None:
        self.component = component
        self.level = level
        self.counts: dict[str, int] = {}

    def debug(self, event: str, /, **fields: Field) -> None:
        if self.level <= _DEBUG:
            _log.add(_DEBUG, self.component, event, fields)

    def info(self, event: str, /, **fields: Field) -> None:
        self.counts[event] = self.counts.get(event, 0) + 1
        if self.level <= _INFO:
            _log.add(_INFO, self.component, event, fields)

    def warning(self, event: str, /, **fields: Field) -> None:
        self.counts[event] = self.counts.get(event, 0) + 1
        if self.level <= _WARNING:
            _log.add(_WARNING, self.component, event, fields)

    def error(self, event: str, /, **fields: Field) -> None:
        self.counts[event] = self.counts.get(event, 0) + 1
        if self.level <= _ERROR:
            _log.add(_ERROR, self.component, event, fields)

    def refused(self, event: str, refusal: Refusal, /, **fields: Field) -> None:
        """Log a refusal at the level of whose doing it was, and count it for the metrics."""
        fault = refusal.cause.fault
        failures[fault] += 1
        level = _FAULT_LEVELS[fault]
        self.counts[event] = self.counts.get(event, 0) + 1
        if self.level <= level:
            _log.add(level, self.component, event, {**fields, "cause": refusal.cause.value, "what": refusal.what})

    def enabled(self, level: Level) -> bool:
        """For the rare place where making the fields costs more than the call."""
        return self.level <= level


failures: dict[Fault, int] = dict.fromkeys(Fault, 0)  # since the process started; read by the metrics


def logger(component: str) -> Logger:
    """The one Logger of that name, made at its first use."""
    return _log.logger(component)


# --- making lines ---------------------------------------------------------------------------------------------------


def clean(text: str) -> str:
    """Cut to the limit, and escape everything that does not print (line ends, terminal controls, lone surrogates)."""
    if len(text) > VALUE_LIMIT:
        text = f"{text[:VALUE_LIMIT]}… ({len(text)} characters)"
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def _safe(name: str, value: object) -> str | int | float | list[str] | None:
    if name in _HIDDEN:
        return "(hidden)"
    if value is None or isinstance(value, int | float):
        return value
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, list | tuple | set | frozenset):
        members = [clean(v) if isinstance(v, str) else str(_safe("", v)) for v in list(value)[:LIST_LIMIT]]
        if len(value) > LIST_LIMIT:
            members.append(f"… ({len(value)} members)")
        return members
    return f"(refused: {type(value).__name__})"


_SPECIAL = frozenset(' "=\\[],')
_PLAIN = re.compile(rf"[!#-+\--<>-Z^-~]{{1,{VALUE_LIMIT}}}").fullmatch  # needs neither escapes nor quotes


def _text_value(value: str | int | float | list[str] | None) -> str:
    if isinstance(value, str):
        if value and _SPECIAL.isdisjoint(value):
            return value
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(value, list):
        return "[" + ",".join(_text_value(v) for v in value) + "]"
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


class _Stamp:
    """RFC 3339 local time with offset and milliseconds; the second's part is made once a second."""

    __slots__ = ("_head", "_second", "_tail")

    def __init__(self) -> None:
        self._second = -1
        self._head = self._tail = ""

    def text(self, now: float) -> str:
        second = int(now)
        if second != self._second:
            local = time.localtime(second)
            offset = local.tm_gmtoff
            sign, minutes = ("-", -offset // 60) if offset < 0 else ("+", offset // 60)
            self._head = time.strftime("%Y-%m-%dT%H:%M:%S.", local)
            self._tail = f"{sign}{minutes // 60:02d}:{minutes % 60:02d}"
            self._second = second
        return f"{self._head}{int((now - second) * 1000):03d}{self._tail}"


# --- the process's log ----------------------------------------------------------------------------------------------


class _Log:
    """All loggers, their levels, the lines that wait, and the thread that writes them."""

    def __init__(self, wall: Callable[[], float] = time.time) -> None:
        self._wall = wall
        self._stamp = _Stamp()
        self._encoder = msgspec.json.Encoder()
        self._loggers: dict[str, Logger] = {}
        self._default: int = _INFO
        self._levels: dict[str, int] = {}
        self._format = Format.TEXT
        self._path: Path | None = None
        self._by = ""
        self._descriptor: int | None = None  # None: standard error, whatever that is at the time
        self._waiting: deque[bytes] = deque()  # appended by any thread, emptied by the writing one
        self._recent: deque[bytes] = deque()  # what was written lately, in the pieces in which it was
        self._recent_size = 0
        self._dropped = 0
        self._midline = False  # the last write ended inside a line
        self._wake = threading.Event()
        self._hurry = threading.Event()
        self._writing = threading.Lock()
        self._thread: threading.Thread | None = None
        self._tap: Callable[[str, str, dict[str, object]], None] | None = None

    # levels

    def logger(self, component: str) -> Logger:
        found = self._loggers.get(component)
        if found is None:
            found = self._loggers.setdefault(component, Logger(component, self._levels.get(component, self._default)))
        return found

    def set_levels(self, default: int, levels: Mapping[str, int]) -> None:
        self._default, self._levels = default, dict(levels)
        for component, found in self._loggers.items():
            found.level = self._levels.get(component, default)

    def set_level(self, component: str, level: int) -> None:
        self._levels[component] = level
        self.logger(component).level = level

    def levels(self) -> dict[str, Level]:
        return {name: Level(found.level) for name, found in sorted(self._loggers.items())}

    def counts(self) -> dict[tuple[str, str], int]:
        """How often each event of each component happened since the process started."""
        return {
            (name, event): count
            for name, found in sorted(self._loggers.items())
            for event, count in sorted(found.counts.items())
        }

    # output

    def direct(self, format: Format, path: Path | None, by: str = "") -> None:
        """`by`: which of several processes that share the file, the last field of every line. Raises OSError when the
        file cannot be opened; nothing has changed then.
        """
        descriptor = None if path is None else _open(path)
        with self._writing:
            old, self._descriptor = self._descriptor, descriptor
            self._path, self._format, self._by, self._midline = path, format, by, False
        if old is not None:
            os.close(old)

    def reopen(self) -> None:
        """Raises OSError when the file cannot be opened; the old one stays in use then."""
        if self._path is not None:
            self.flush()
            self.direct(self._format, self._path, self._by)

    def add(self, level: int, component: str, event: str, fields: dict[str, Field]) -> None:
        if self._tap is not None:
            self._tap(component, event, dict(fields))
        if len(self._waiting) >= WAITING_LIMIT:
            self._dropped += 1
            return
        self._waiting.append(self._line(level, component, event, fields))
        if not self._wake.is_set():
            self._start()
        if level >= _ERROR:
            self._hurry.set()

    def _line(self, level: int, component: str, event: str, fields: dict[str, Field]) -> bytes:
        stamp = self._stamp.text(self._wall())
        if self._by:
            fields = {**fields, "by": self._by}
        if self._format is Format.TEXT:
            return self._text(stamp, level, component, event, fields)
        safe = {name: _safe(name, value) for name, value in fields.items()}
        head = {"time": stamp, "level": _NAMES[level], "component": component, "event": clean(event)}
        return self._encoder.encode(head | safe if safe.keys().isdisjoint(head) else safe | head) + b"\n"

    def _text(self, stamp: str, level: int, component: str, event: str, fields: dict[str, Field]) -> bytes:
        parts = [stamp, _NAMES[level], component, _text_value(clean(event))]
        for name, value in fields.items():
            if name not in _HIDDEN and (value.__class__ is int or (isinstance(value, str) and _PLAIN(value))):
                parts.append(f"{name}={value}")
            else:
                parts.append(f"{name}={_text_value(_safe(name, value))}")
        return (" ".join(parts) + "\n").encode()

    def _start(self) -> None:
        self._wake.set()
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._run, name="log", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while True:
            self._wake.wait()
            self._hurry.wait(WRITE_INTERVAL)
            self._wake.clear()
            self._hurry.clear()
            self.flush()

    def flush(self) -> None:
        """Write what waits, now; what cannot be written is dropped and counted."""
        with self._writing:
            lines = [self._waiting.popleft() for _ in range(len(self._waiting))]
            dropped, self._dropped = self._dropped, 0
            if dropped:
                lines.append(self._line(_WARNING, "log", "lines-lost", {"lines": dropped}))
            if not lines:
                return
            data = b"".join(lines)
            if self._path is None:
                self._remember(data)
            prefix = b"\n" if self._midline else b""
            data = prefix + data
            written = _write(self._descriptor, data)
            if written < len(data):
                self._midline = data[written - 1 : written] != b"\n" if written else self._midline
                # the line that tells of lost ones comes last, so it is lost itself now: its figure is told again
                self._dropped += data[max(written, len(prefix)) :].count(b"\n") - bool(dropped) + dropped
            else:
                self._midline = False

    def _remember(self, data: bytes) -> None:
        self._recent.append(data)
        self._recent_size += len(data)
        while self._recent_size > RECENT_LIMIT:
            self._recent_size -= len(self._recent.popleft())

    def recent(self) -> Iterator[str]:
        """Lines written lately, oldest first; none when a file keeps them."""
        self.flush()
        for piece in list(self._recent):
            yield from piece.decode().splitlines()

    def tap(self, tap: Callable[[str, str, dict[str, object]], None] | None) -> None:
        self._tap = tap

    def after_fork(self) -> None:
        """Threads do not survive a fork, and the parent writes its own lines."""
        self._waiting, self._thread = deque(), None
        self._wake, self._hurry, self._writing = threading.Event(), threading.Event(), threading.Lock()


def _open(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)


def _write(descriptor: int | None, data: bytes) -> int:
    """Octets written; fewer than all when the disk is full or nobody reads any more."""
    written = 0
    try:
        if descriptor is None:
            if sys.stderr is None:
                return 0
            descriptor = sys.stderr.fileno()
        while written < len(data):
            written += os.write(descriptor, data[written:])
    except (OSError, ValueError):
        return written
    return written


_log = _Log()
atexit.register(_log.flush)
os.register_at_fork(after_in_child=_log.after_fork)

set_levels = _log.set_levels
set_level = _log.set_level
levels = _log.levels
counts = _log.counts
direct = _log.direct
reopen = _log.reopen
flush = _log.flush
recent = _log.recent


@contextmanager
def captured() -> Iterator[list[tuple[str, str, dict[str, object]]]]:
    """For tests: every (component, event, fields) that is logged inside the block."""
    events: list[tuple[str, str, dict[str, object]]] = []
    _log.tap(lambda component, event, fields: events.append((component, event, fields)))
    try:
        yield events
    finally:
        _log.tap(None)
