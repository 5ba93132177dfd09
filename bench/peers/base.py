"""What every peer offers: start in a folder, ports, memory, stop."""

import shutil
import socket
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import psutil

PASSWORD = "correct-horse"
DOMAIN = "example.test"


class Missing(Exception):
    """A peer's programs are not on this machine and could not be installed."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for_port(port: int, seconds: float = 20.0) -> None:
    """Return once something accepts on 127.0.0.1:port; raises TimeoutError."""
    end = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            if time.monotonic() > end:
                raise TimeoutError(f"nothing listens on port {port} after {seconds} s") from None
            time.sleep(0.05)
        else:
            return


def install(*packages: str) -> None:
    """Install Debian packages when this is root on Debian; raises Missing."""
    if shutil.which("apt-get") is None:
        raise Missing(f"{', '.join(packages)}: no apt-get here")
    command = ["apt-get", "install", "-y", "-q", "--no-install-recommends", *packages]
    environment = {"DEBIAN_FRONTEND": "noninteractive", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    for attempt in (["apt-get", "update", "-q"], None):
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        if done.returncode == 0:
            return
        if attempt is not None:
            subprocess.run(attempt, capture_output=True, env=environment, check=False)
    raise Missing(f"{', '.join(packages)}: {done.stderr.strip()[-300:]}")


@dataclass
class Ports:
    smtp: int = 0
    lmtp: int = 0
    imap: int = 0
    imaps: int = 0


class Server(Protocol):
    """A mail server under measurement."""

    name: str
    ports: Ports

    def stop(self) -> None: ...

    def pids(self) -> list[int]:
        """All its processes, for memory accounting."""
        ...


def address(number: int) -> str:
    return f"user{number}@{DOMAIN}"


@dataclass
class ProcessTree:
    """Memory and processor time of a process and everything below it."""

    root: int
    _seen: dict[int, psutil.Process] = field(default_factory=dict)

    def pids(self) -> list[int]:
        top = psutil.Process(self.root)
        return [self.root, *(child.pid for child in top.children(recursive=True))]


def resident(pids: list[int]) -> int:
    """Proportional set size (shared pages counted once over all), octets."""
    total = 0
    for pid in pids:
        try:
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) * 1024
        except (FileNotFoundError, ProcessLookupError):
            continue
    return total
