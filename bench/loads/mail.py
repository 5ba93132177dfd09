"""Mail in: Postfix's own generator, one process per connection and account, so that the load costs little here."""

import shutil
import subprocess
import time
from collections.abc import Callable

from bench.peers.base import Missing, address

SENDER = "sender@elsewhere.test"


def send(port: int, *, lmtp: bool, connections: int, messages: int, size: int) -> float:
    """Send `messages` (divided over `connections`, each to an account of its own); seconds until all were answered.

    Raises Missing without smtp-source, RuntimeError when a message was refused.
    """
    program = shutil.which("smtp-source", path="/usr/sbin:/usr/bin")
    if program is None:
        raise Missing("smtp-source: comes with postfix")
    each = messages // connections
    started = time.perf_counter()
    running = [
        subprocess.Popen(
            [
                program,
                *(["-L"] if lmtp else []),
                "-s",
                "1",
                "-m",
                str(each),
                "-l",
                str(size),
                "-f",
                SENDER,
                "-t",
                address(n),
                f"127.0.0.1:{port}",
            ],
            stderr=subprocess.PIPE,
        )
        for n in range(connections)
    ]
    errors = [process.communicate()[1].decode()[-200:] for process in running]
    elapsed = time.perf_counter() - started
    failed = [text for process, text in zip(running, errors, strict=True) if process.returncode != 0]
    if failed:
        raise RuntimeError(f"{len(failed)} of {connections} senders failed: {failed[0]}")
    return elapsed


def lmtp_rate(port: int, *, connections: int = 50, messages: int = 5000, size: int = 4096) -> float:
    """Messages per second, each answered when durable in its mailbox."""
    return (
        messages
        // connections
        * connections
        / send(port, lmtp=True, connections=connections, messages=messages, size=size)
    )


def smtp_to_mailbox_rate(
    port: int, undelivered: Callable[[], int], *, connections: int = 50, messages: int = 5000, size: int = 4096
) -> float:
    """Messages per second from the first connection until the queue is empty."""
    started = time.perf_counter()
    send(port, lmtp=False, connections=connections, messages=messages, size=size)
    while undelivered():
        time.sleep(0.02)
    return messages // connections * connections / (time.perf_counter() - started)
