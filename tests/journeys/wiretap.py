"""A way to PostgreSQL on which a backend can be stopped at a chosen point of a transaction of its store.

    python wiretap.py LISTENING-SOCKET SERVER-SOCKET    a line {"pid": PROCESS, "state": one of STATES} is answered
                                                        {"ok": 1}, and with {"session": PID} of the server's process
                                                        when that one has been stopped; {"go": true}: the wire goes on

What the stopped process has said and the server has not got is kept until then. A program of its own, so that nothing
the test does holds up the others.
"""

import contextlib
import json
import os
import re
import select
import signal
import socket
import struct
import sys
import threading
from collections.abc import Callable, Iterator

# What the server is doing: waiting for the next statement; for the end of a pipeline, whose statements it has carried
# out; for the rest of a message; for its long answer to be taken.
STATES = IDLE, PIPELINE, HALF, SENDING = (
    "idle in transaction", "pipeline unsent", "half a message sent", "server blocked sending",
)  # fmt: skip

LOOK = 0.02  # seconds between two looks whether the client is there

_WRITE = re.compile(rb"\b(INSERT|UPDATE|DELETE)\b")
_ENDS_GROUP = b"SQHX"  # Sync, Query, Flush, Terminate
_KEY = b"K\0\0\0\x0c"  # BackendKeyData
_FLUSH = b"H\0\0\0\4"


def _message(kind: bytes, body: bytes) -> bytes:
    return kind + (len(body) + 4).to_bytes(4, "big") + body


_LONG_ANSWER = (
    _message(b"P", b"\0SELECT repeat('x', 1000) FROM generate_series(1, 100000)\0\0\0")
    + _message(b"B", bytes(8))
    + _message(b"E", bytes(5))
)


class Tap:
    def __init__(self, listening: str, server: str) -> None:
        self._server = server
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(listening)
        self._listener.listen()
        self._wanted: tuple[int, str] = (0, "")
        self.go = threading.Event()

    def run(self) -> None:
        threading.Thread(target=self._obey, daemon=True).start()
        while True:
            client, server = self._listener.accept()[0], socket.socket(socket.AF_UNIX)
            server.connect(self._server)
            Wire(self, client, server)

    def _obey(self) -> None:
        for line in sys.stdin:
            asked = json.loads(line)
            if "go" in asked:
                self.go.set()
            else:
                self.go.clear()
                self._wanted = asked["pid"], asked["state"]
            self.say(ok=1)
        os._exit(0)

    def state_for(self, pid: int) -> str:
        wanted, state = self._wanted
        return state if wanted == pid else ""

    def stop(self, pid: int) -> None:
        self._wanted = (0, "")
        os.kill(pid, signal.SIGSTOP)

    def say(self, **what: int) -> None:
        sys.stdout.write(json.dumps(what) + "\n")
        sys.stdout.flush()


class Wire:
    """One connection, a thread for each direction."""

    def __init__(self, tap: Tap, client: socket.socket, server: socket.socket) -> None:
        self._tap, self._client, self._server = tap, client, server
        peer = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        self._pid: int = struct.unpack("3i", peer)[0]
        self._session = 0
        self._statements: dict[bytes, bytes] = {}  # prepared, by name
        self._fenced = False  # the transaction under way has the rows of its accounts locked
        self._deaf = False  # to the server: what it says is nobody's
        for work in (self._up, self._down):
            threading.Thread(target=self._guarded, args=(work,), daemon=True).start()

    def _guarded(self, work: Callable[[], None]) -> None:
        with contextlib.suppress(OSError, EOFError):
            work()
        for side in (self._client, self._server):
            with contextlib.suppress(OSError):
                side.shutdown(socket.SHUT_RDWR)

    def _down(self) -> None:
        while data := self._server.recv(65536):
            if not self._session and (found := data.find(_KEY)) >= 0:
                self._session = int.from_bytes(data[found + 5 : found + 9], "big")
            if self._deaf:
                self._tap.go.wait()
                return
            self._client.sendall(data)

    def _up(self) -> None:
        group: list[bytes] = []
        for message in self._messages():
            group.append(message)
            if message[:1] in _ENDS_GROUP or not self._tap.state_for(self._pid):
                self._pass(group)
                group = []
        self._server.shutdown(socket.SHUT_WR)

    def _messages(self) -> Iterator[bytes]:
        """Whole ones; the first has no type."""
        buffer, head = b"", 0
        while True:
            while len(buffer) < head + 4 or len(buffer) < head + int.from_bytes(buffer[head : head + 4], "big"):
                data = self._client.recv(1 << 20)
                if not data:
                    return
                buffer += data
            size = head + int.from_bytes(buffer[head : head + 4], "big")
            message, buffer, head = buffer[:size], buffer[size:], 1
            yield message

    def _pass(self, group: list[bytes]) -> None:
        texts = [self._text(message) for message in group]
        state = self._tap.state_for(self._pid)
        if state and self._fenced and b"COMMIT" in texts and any(map(_WRITE.search, texts)):
            self._stop(state, group, texts.index(b"COMMIT"))
            return
        for text in texts:
            self._fenced = b"FOR SHARE" in text or (self._fenced and not text.startswith((b"BEGIN", b"COMMIT")))
        self._server.sendall(b"".join(group))

    def _stop(self, state: str, group: list[bytes], commit: int) -> None:
        """The group is what writes, and COMMIT at last; the accounts' rows are locked already."""
        whole, writes = b"".join(group), b"".join(group[:commit])
        sent = {IDLE: b"", PIPELINE: writes, HALF: writes[: len(group[0]) // 2], SENDING: writes}[state]
        more = {PIPELINE: _FLUSH, SENDING: _LONG_ANSWER + _FLUSH}.get(state, b"")
        self._deaf = state == SENDING
        self._tap.stop(self._pid)
        self._server.sendall(sent + more)
        self._tap.say(session=self._session)
        poll = select.poll()
        poll.register(self._client, select.POLLRDHUP)
        while not self._tap.go.wait(LOOK):
            if poll.poll(0):
                raise EOFError
        self._server.sendall(whole[len(sent) :])

    def _text(self, message: bytes) -> bytes:
        """The SQL that it is about, if any."""
        kind, body = message[:1], message[5:]
        if kind == b"Q":
            return body.rstrip(b"\0")
        if kind == b"P":
            name, text, _ = body.split(b"\0", 2)
            self._statements[name] = text
            return text
        if kind == b"B":
            return self._statements.get(body.split(b"\0", 2)[1], b"")
        return b""


if __name__ == "__main__":
    Tap(*sys.argv[1:]).run()
