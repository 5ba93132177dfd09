"""A small IMAP client that says what it got: an answer, a refusal, or nothing (OSError, EOFError)."""

import re
import socket
from dataclasses import dataclass, field

LITERAL = re.compile(rb"\{(\d+)\}\r\n$")


class Refused(Exception):
    """NO or BAD: the server says that it was not done. `answer`: the tagged line, without the tag."""

    def __init__(self, answer: bytes) -> None:
        super().__init__(answer.decode(errors="replace"))
        self.answer = answer


@dataclass
class Answer:
    """`lines`: the untagged ones, with their literals. `text`: the tagged one, from OK on."""

    text: bytes
    lines: list[bytes] = field(default_factory=list)

    def says(self, code: str) -> bool:
        return any(b"[%b " % code.encode() in line for line in (self.text, *self.lines))

    def numbers(self, code: str) -> list[list[int]]:
        """What a response code says, wherever it stands: APPENDUID 7 1 -> [[7], [1]]; 1:3 is written out."""
        for line in [self.text, *self.lines]:
            found = re.search(rb"\[%b ([0-9:, ]+)\]" % code.encode(), line)
            if found:
                return [_numbers(part) for part in found[1].decode().split()]
        raise AssertionError(f"no {code} in {self}")


def _numbers(text: str) -> list[int]:
    found: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition(":")
        ends = sorted((int(first), int(last or first)))
        found += range(ends[0], ends[1] + 1)
    return found


class Client:
    """Commands one by one. EOFError: the server closed the connection, `bye` says what it said before."""

    def __init__(self, host: str, port: int, *, timeout: float) -> None:
        self.bye = b""
        self._socket = socket.create_connection((host, port), timeout)
        self._file = self._socket.makefile("rb")
        self._number = 0
        try:
            self._line()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self._file.close()
        self._socket.close()

    def ask(self, command: str, literal: bytes | None = None) -> Answer:
        """Raises Refused, OSError (nothing came in time, among others), EOFError."""
        tag = self.send(command, literal)
        answer = Answer(b"")
        while True:
            line = self._line()
            if line.startswith(tag):
                answer.text = line[len(tag) :].rstrip(b"\r\n")
                if not answer.text.startswith(b"OK"):
                    raise Refused(answer.text)
                return answer
            answer.lines.append(line)

    def send(self, command: str, literal: bytes | None = None) -> bytes:
        """Without waiting for what comes of it. Returns the tag."""
        self._number += 1
        tag = b"t%d " % self._number
        data = tag + command.encode()
        if literal is not None:
            data += b" {%d+}\r\n" % len(literal) + literal
        self._socket.sendall(data + b"\r\n")
        return tag

    def rest(self) -> bytes:
        """All that comes until the server closes the connection."""
        return self._file.read()

    def _line(self) -> bytes:
        whole = b""
        while True:
            line = self._file.readline()
            if not line.endswith(b"\n"):
                raise EOFError(f"the server closed the connection: {self.bye!r}")
            whole += line
            found = LITERAL.search(line)
            if not found:
                break
            whole += self._file.read(int(found[1]))
        if whole.startswith(b"* BYE"):
            self.bye = whole
        return whole


def append(client: Client, mark: str) -> int:
    """A message with that subject to INBOX; returns its UID."""
    answer = client.ask("APPEND INBOX", f"Subject: {mark}\r\n\r\n{mark}\r\n".encode())
    return answer.numbers("APPENDUID")[1][0]


def marks(client: Client, mark: str) -> int:
    """How many messages of INBOX have that subject."""
    client.ask("SELECT INBOX")
    lines = client.ask("UID FETCH 1:* (BODY.PEEK[HEADER.FIELDS (SUBJECT)])").lines
    return sum(bool(re.search(rf"Subject: {re.escape(mark)}\r\n".encode(), line)) for line in lines)
