"""Rookery itself, as an administrator starts it: init, import, serve."""

import re
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

from bench.peers.base import DOMAIN, PASSWORD, Ports, ProcessTree, address, wait_for_port


class Rookery:
    """One node on loopback with `accounts` users, as it ships but for the connections that one address may have."""

    name = "rookery"

    def __init__(
        self, folder: Path, *, accounts: int = 50, offset: int = 0, database: str = "", cluster: bool = False
    ) -> None:
        """`database`: keep everything on PostgreSQL, there. `cluster`: other nodes may join it."""
        self.command = shutil.which("rookery", path=str(Path(sys.executable).parent)) or "rookery"
        self.folder = folder
        offset = offset or free_offset()
        self.run("init", str(folder), "--domain", DOMAIN, "--hostname", f"mx.{DOMAIN}", "--port-offset", str(offset))
        config = folder / "rookery.toml"
        self.widen(folder)
        users = folder.with_suffix(".csv")
        users.write_text("".join(f"{address(n)},{PASSWORD},\n" for n in range(accounts)))
        if database:
            text = config.read_text()
            for section in ("store", "directory", "queue"):
                text = text.replace(f"[{section}]\n", f'[{section}]\ndatabase = "{database}"\n')
            config.write_text(text)
            self.run("--site", str(folder), "domain", "add", DOMAIN)
        self.run("--site", str(folder), "account", "import", str(users))
        if cluster:
            self.run("--site", str(folder), "cluster", "init")
        self.cluster, self.join = 7143 + offset, 7144 + offset
        self.ports = Ports(smtp=25 + offset, lmtp=24 + offset, imap=143 + offset, imaps=993 + offset)
        self._http = 9464 + offset
        self._process = subprocess.Popen(
            [self.command, "--site", str(folder), "serve"],
            stdout=subprocess.DEVNULL,
            stderr=(folder / "bench.log").open("wb"),
        )
        wait_for_port(self.ports.imap)
        wait_for_port(self.ports.lmtp)

    @staticmethod
    def widen(folder: Path) -> None:
        """All clients of a measurement come from one address."""
        config = folder / "rookery.toml"
        opened = config.read_text().replace("#connections_per_address = 100", "connections_per_address = 12000")
        config.write_text(opened.replace("#before_login = 10", "before_login = 1000"))

    def run(self, *words: str) -> str:
        done = subprocess.run([self.command, *words], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"rookery {' '.join(words)}: {done.stderr.strip()[-600:]}")
        return done.stdout

    def queued(self) -> int:
        """Messages in the queue, asked over HTTP because the command would take the processor from the measured."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self._http}/metrics", timeout=30) as page:
            found = re.search(rb"^rookery_queue_messages (\S+)", page.read(), re.MULTILINE)
        if found is None:
            raise RuntimeError("/metrics does not name the queue")
        return int(float(found[1]))

    def pids(self) -> list[int]:
        return ProcessTree(self._process.pid).pids()

    def stop(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(60)


def free_offset() -> int:
    """An offset at which all ports are free."""
    for offset in range(20000, 60000, 1000):
        for port in (24, 25, 143, 465, 587, 993, 7143, 7144, 9464):
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if probe.connect_ex(("127.0.0.1", port + offset)) == 0:
                    break
        else:
            return offset
    raise RuntimeError("no free ports")
