"""An LMTP or SMTP load in a process of its own: many connections, little of its own work.

    python -m bench.lmtp_load PORT [--connections 50] [--messages 20000] [--size 4096] [--accounts 50] [--smtp]

Each connection sends its messages one after the other, every step waiting for its answer (--pipeline: MAIL, RCPT and
DATA together, as most MTAs do). Prints messages per second, and the median and 99th percentile of a message's time in
milliseconds.
"""

import argparse
import asyncio
import json
import time
from functools import partial
from typing import cast

import uvloop

DOMAIN = "bench.test"


def message(size: int) -> bytes:
    """`size` octets: a header and lines of text."""
    head = b"From: <sender@elsewhere.test>\r\nSubject: load\r\nDate: Mon, 1 Jan 2024 00:00:00 +0000\r\n\r\n"
    line = b"The quick brown fox jumps over the lazy dog, again and again and again.\r\n"
    return (head + line * (size // len(line) + 1))[: size - 2] + b"\r\n"


class Sender(asyncio.Protocol):
    """One connection: a list of steps, the next sent when the last one's answers have come."""

    def __init__(self, steps: list[bytes], answers: list[int], turns: int, hello: bytes, times: list[float]) -> None:
        self.steps = steps
        self.answers = answers
        self.turns = turns
        self.hello = hello
        self.times = times
        self.step = -2
        self.missing = 1
        self.began = 0.0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.buffer = b""

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        if not self.buffer.endswith(b"\n"):
            return
        for line in self.buffer.split(b"\r\n"):
            if line[3:4] == b" ":
                self.missing -= 1
                if line[0] not in b"23":
                    self.fail(RuntimeError(line.decode()))
                    return
        self.buffer = b""
        if not self.missing:
            self.forward()

    def forward(self) -> None:
        self.step += 1
        if self.step == -1:
            self.missing = 1
            self.transport.write(self.hello)
            return
        if self.step == len(self.steps):
            self.times.append(time.perf_counter() - self.began)
            self.step = 0
            self.turns -= 1
        if self.step == 0:
            self.began = time.perf_counter()
            if not self.turns:
                self.transport.close()
                if not self.done.done():
                    self.done.set_result(None)
                return
        self.missing = self.answers[self.step]
        self.transport.write(self.steps[self.step])

    def fail(self, error: Exception) -> None:
        if not self.done.done():
            self.done.set_exception(error)
        self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(RuntimeError(f"lost at step {self.step}"))


def _same(sender: Sender) -> Sender:
    return sender


async def run(arguments: argparse.Namespace) -> dict[str, float]:
    loop = asyncio.get_running_loop()
    body = message(arguments.size) + b".\r\n"
    hello = b"EHLO load.test\r\n" if arguments.smtp else b"LHLO load.test\r\n"
    each = arguments.messages // arguments.connections
    times: list[float] = []
    senders = []
    for number in range(arguments.connections):
        recipient = arguments.recipient.format(number % arguments.accounts).encode()
        steps = [b"MAIL FROM:<sender@elsewhere.test>\r\n", b"RCPT TO:<" + recipient + b">\r\n", b"DATA\r\n", body]
        answers = [1, 1, 1, 1]
        if arguments.pipeline:
            steps, answers = [b"".join(steps[:3]), body], [3, 1]
        sender = Sender(steps, answers, each, hello, times)
        await loop.create_connection(partial(_same, sender), arguments.host, arguments.port)
        senders.append(sender)
    started = time.perf_counter()
    await asyncio.gather(*(sender.done for sender in senders))
    elapsed = time.perf_counter() - started
    times.sort()
    return {
        "rate": round(each * arguments.connections / elapsed),
        "median_ms": round(times[len(times) // 2] * 1000, 2),
        "p99_ms": round(times[len(times) * 99 // 100] * 1000, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("port", type=int)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--connections", type=int, default=50)
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--size", type=int, default=4096)
    parser.add_argument("--accounts", type=int, default=50)
    parser.add_argument("--recipient", default="user{}@" + DOMAIN, help="{} becomes a number")
    parser.add_argument("--smtp", action="store_true")
    parser.add_argument("--pipeline", action="store_true")
    print(json.dumps(uvloop.run(run(parser.parse_args()))))


if __name__ == "__main__":
    main()
