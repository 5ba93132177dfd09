"""A network for real processes: each node has a network namespace of its own, and the test is a node too.

with Network("b1", "b2", "db") as network:
    process = network["b1"].popen(["program"])      # reachable at network["b1"].address
    network.cut("b1", "db")                         # nothing arrives, and nothing is refused
    network.lose("db", "b1")                        # requests arrive, answers do not
    network.slow("b1", "db", delay=0.1)
    network.heal()
"""

import fcntl
import json
import os
import random
import shutil
import struct
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from itertools import combinations
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest

TEST = "test"  # the name of the node that the test itself is
_TUNSETIFF, _IFF_TUN, _IFF_NO_PI = 0x400454CA, 1, 0x1000

needs_network = [
    pytest.mark.journey,
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root"),
    pytest.mark.skipif(shutil.which("ip") is None, reason="no `ip` (Debian: iproute2)"),
    pytest.mark.skipif(not Path("/dev/net/tun").exists(), reason="no TUN devices here"),
]


class Node:
    """`namespace` is "" for the test's own."""

    def __init__(self, address: str, namespace: str) -> None:
        self.address = address
        self.namespace = namespace

    def command(self, arguments: Sequence[str]) -> list[str]:
        """What runs the program there."""
        return ["nsenter", f"--net=/run/netns/{self.namespace}", "--", *arguments] if self.namespace else [*arguments]

    def popen(self, arguments: Sequence[str], **options: Any) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(self.command(arguments), **options)

    def pids(self) -> list[int]:
        """Of every process there; the test's own node has too many."""
        assert self.namespace
        done = subprocess.run(["ip", "netns", "pids", self.namespace], check=True, capture_output=True)
        return [int(pid) for pid in done.stdout.split()]


class Network:
    """Nothing of it is left at the end, whatever happened. Who leaves it ends its processes first."""

    def __init__(self, *names: str) -> None:
        self._names = names
        self._nodes: dict[str, Node] = {}
        self._opened = ExitStack()
        self._switch: subprocess.Popen[bytes] | None = None

    def __getitem__(self, name: str) -> Node:
        return self._nodes[name]

    def __enter__(self) -> "Network":
        with ExitStack() as opened:
            prefix, links = _free_prefix(), []
            for number, name in enumerate((TEST, *self._names), 1):
                address = f"{prefix}.{number}"
                namespace = "" if name == TEST else f"rookery-{os.getpid()}-{name}"
                if namespace:
                    _ip("netns", "add", namespace)
                    opened.callback(_ip, "netns", "del", namespace)
                links.append((address, opened.enter_context(os.fdopen(_link(address, namespace, number), "rb", 0))))
                self._nodes[name] = Node(address, namespace)
            ends = [f"{address}={link.fileno()}" for address, link in links]
            self._switch = subprocess.Popen(
                [sys.executable, str(Path(__file__).with_name("switch.py")), *ends],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                pass_fds=[link.fileno() for _, link in links],
            )
            opened.callback(self._end_switch)
            self._opened = opened.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opened.close()

    def _end_switch(self) -> None:
        if self._switch is not None:
            self._switch.kill()
            self._switch.communicate()

    # --- the ways between ---

    def lose(self, source: str, target: str) -> None:
        """What `source` sends never arrives; the other way stays as it was."""
        self._tell(source, target, lost=True)

    def cut(self, one: str, other: str) -> None:
        self.lose(one, other)
        self.lose(other, one)

    def isolate(self, name: str) -> None:
        """From everybody, as if it had no power."""
        for other in self._nodes.keys() - {name}:
            self.cut(name, other)

    def slow(self, one: str, other: str, *, delay: float = 0.0, rate: float = 0.0) -> None:
        """Both ways: seconds for each packet, octets a second (0: no limit)."""
        self._tell(one, other, delay=delay, rate=rate)
        self._tell(other, one, delay=delay, rate=rate)

    def heal(self) -> None:
        for one, other in combinations(self._nodes, 2):
            self.slow(one, other)

    def _tell(self, source: str, target: str, *, lost: bool = False, delay: float = 0.0, rate: float = 0.0) -> None:
        ends = {"from": self[source].address, "to": self[target].address}
        assert self._switch is not None
        assert self._switch.stdin is not None
        assert self._switch.stdout is not None
        self._switch.stdin.write(json.dumps(ends | {"lost": lost, "delay": delay, "rate": rate}).encode() + b"\n")
        self._switch.stdin.flush()
        assert self._switch.stdout.readline() == b"ok\n"


def _link(address: str, namespace: str, number: int) -> int:
    """A TUN device with the address in the namespace; returns the end that the switch has of it."""
    name = f"rk{os.getpid()}x{number}"
    link = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(link, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TUN | _IFF_NO_PI))
    inside: list[str] = []
    if namespace:
        _ip("link", "set", name, "netns", namespace)
        inside = ["-n", namespace]
        _ip(*inside, "link", "set", "lo", "up")
    _ip(*inside, "address", "add", f"{address}/24", "dev", name)
    _ip(*inside, "link", "set", name, "up")
    return link


def _free_prefix() -> str:
    """Three octets of addresses that nothing on this machine has."""
    routes = subprocess.run(["ip", "-4", "route"], check=True, capture_output=True, text=True).stdout
    while True:
        prefix = f"10.{random.randrange(128, 255)}.{random.randrange(256)}"
        if f"{prefix}." not in routes:
            return prefix


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)
