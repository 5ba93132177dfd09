"""Mail in over many connections. The generator (bench/lmtp_load.py) is a process of its own, the same for all."""

import json
import subprocess
import sys
import time
from collections.abc import Callable

from bench.peers.base import DOMAIN

CONNECTIONS = 50
MANY = 200


def send(
    port: int,
    *,
    lmtp: bool,
    messages: int,
    size: int = 4096,
    pipeline: bool = False,
    connections: int = CONNECTIONS,
) -> float:
    """Messages per second, each answered before its connection sends the next, to 50 accounts.

    `pipeline`: MAIL, RCPT and DATA in one piece, as Postfix and Exim do; otherwise every step waits for its answer.

    Raises RuntimeError when a message was refused.
    """
    words = [str(port), "--connections", str(connections), "--messages", str(messages), "--size", str(size)]
    words += ["--recipient", "user{}@" + DOMAIN, *([] if lmtp else ["--smtp"])]
    words += ["--pipeline"] if pipeline else []
    command = [sys.executable, "-m", "bench.lmtp_load", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"the load on port {port} failed: {done.stderr.strip()[-300:]}")
    return float(json.loads(done.stdout)["rate"])


def smtp_to_mailbox_rate(port: int, undelivered: Callable[[], int], *, messages: int) -> float:
    """Messages per second from the first connection until the queue is empty."""
    started = time.perf_counter()
    send(port, lmtp=False, messages=messages)
    while undelivered():
        time.sleep(0.01)
    return messages / (time.perf_counter() - started)
