"""What a frontend costs: logins, octets and memory, beside nginx's mail proxy before the same node; deliveries, beside
the node without one.

python -m bench.frontend [--rounds N] [--idle N]

The frontend brings sessions over the cluster port, mutual TLS 1.3, after the directory has checked the login; nginx
passes the client's password on to the node in clear, after an answer of a fixed HTTP page. Both have one process.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from bench import report
from bench.loads import imap, mail
from bench.peers.base import Missing, Ports, ProcessTree, Server, resident, wait_for_port
from bench.peers.nginx import Nginx
from bench.peers.rookery import Rookery, free_offset
from bench.report import Figure

BIG = 20_000_000  # octets of the message that is fetched
ACCOUNT = 60
MESSAGES = 5_000


class Frontend:
    """A frontend of its own site before a node that is a cluster."""

    name = "frontend"

    def __init__(self, folder: Path, node: Rookery) -> None:
        offset = free_offset()
        token = node.run("--site", str(node.folder), "node", "add", "f1", "--role", "frontend",
                         "--role", "mx-in", "--address", f"127.0.0.1:{node.join}").strip()  # fmt: skip
        node.run("--site", str(folder), "node", "join", token, "--directory", f"127.0.0.1:{node.cluster}",
                 "--hostname", "front.example.test", "--port-offset", str(offset))  # fmt: skip
        node.widen(folder)
        self.ports = Ports(imap=143 + offset, imaps=993 + offset, lmtp=24 + offset)
        self._process = subprocess.Popen(
            [node.command, "--site", str(folder), "serve"],
            stdout=subprocess.DEVNULL,
            stderr=(folder / "bench.log").open("wb"),
        )
        wait_for_port(self.ports.imap)

    def pids(self) -> list[int]:
        return ProcessTree(self._process.pid).pids()

    def stop(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(60)


class Bench:
    def __init__(self, rounds: int, idle: int, node: Rookery, frontend: Frontend, nginx: Nginx) -> None:
        self._rounds, self._idle = rounds, idle
        self._node, self._frontend, self._nginx = node, frontend, nginx

    def pairs(self, name: str, unit: str, measure: Callable[[Server], float]) -> Figure:
        """Through the frontend, through nginx, and for the reader without either, in turn; none is always first, and
        what the first time costs (passwords are checked, links dialled) is not counted."""
        rates: dict[str, list[float]] = {server.name: [] for server in (self._frontend, self._nginx, self._node)}
        for number in range(-1, self._rounds):
            for server in ((self._frontend, self._nginx), (self._nginx, self._frontend))[number % 2] + (self._node,):
                rate = measure(server)
                if number >= 0:
                    rates[server.name].append(rate)
        ours, theirs, direct = (rates[server.name] for server in (self._frontend, self._nginx, self._node))
        print(f"  {name}: {ours[-1]:,.1f} / {theirs[-1]:,.1f} {unit}; direct {sorted(direct)[len(direct) // 2]:,.1f}")
        return Figure(name, unit, ours, theirs, "nginx", 1)

    def logins(self, tls: bool) -> Figure:
        def measure(server: Server) -> float:
            return imap.login_rate(server.ports.imaps if tls else server.ports.imap, each=100, tls=tls)

        return self.pairs("login + logout, tls" if tls else "login + logout", "1/s", measure)

    def octets(self, tls: bool) -> Figure:
        def measure(server: Server) -> float:
            return imap.fetch_rate(server.ports.imaps if tls else server.ports.imap, ACCOUNT, BIG, tls=tls)

        return self.pairs("20 MB body, tls" if tls else "20 MB body", "MB/s", measure)

    def deliveries(self) -> Figure:
        """LMTP of 4 kB messages by 50 connections, through the frontend and at the node itself."""
        ours: list[float] = []
        direct: list[float] = []
        for _ in range(self._rounds):
            for server, rates in ((self._frontend, ours), (self._node, direct)):
                rates.append(mail.send(server.ports.lmtp, lmtp=True, messages=MESSAGES))
        return Figure("LMTP, 4 kB", "1/s", ours, direct, "direct", 0.6)

    def memory(self, tls: bool) -> str:
        """Of one idle connection, at the proxy and behind it together; kB."""
        found = []
        for server in (self._frontend, self._nginx):
            port, pids = (server.ports.imaps if tls else server.ports.imap), [*server.pids(), *self._node.pids()]
            imap.close_all(imap.open_idle(port, 50, tls=tls))
            before = resident(pids)
            held = imap.open_idle(port, self._idle, tls=tls)
            found.append((resident(pids) - before) / self._idle / 1024)
            imap.close_all(held)
        kind = "tls" if tls else "plain"
        return f"  idle imap, {kind}, proxy and node together: {found[0]:.1f} kB; with nginx {found[1]:.1f} kB"


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench.frontend", description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--idle", type=int, default=1000)
    given = parser.parse_args()
    work = Path(tempfile.mkdtemp(prefix="rookery-bench-"))
    started: list[Server] = []
    try:
        node = Rookery(work / "rookery", accounts=64, cluster=True)
        started.append(node)
        frontend = Frontend(work / "frontend", node)
        started.append(frontend)
        keys = node.folder / "tls"
        nginx = Nginx(work / "nginx", backend=node.ports.imap, certificate=keys / "cert.pem", key=keys / "key.pem")
        started.append(nginx)
        with imap.Imap(node.ports.imap) as client:
            client.login(ACCOUNT)
            body = imap.message(0, BIG)
            client.command(b"APPEND INBOX {%d}" % len(body), body)
        bench = Bench(given.rounds, given.idle, node, frontend, nginx)
        print(f"load {os.getloadavg()[0]:.1f}")
        figures = [bench.logins(False), bench.logins(True), bench.octets(False), bench.octets(True)]
        figures.append(bench.deliveries())
        print(bench.memory(False), bench.memory(True), sep="\n")
        print(f"\n{report.table(figures)}\nload {os.getloadavg()[0]:.1f}")
    except Missing as missing:
        print(f"not measured: {missing}", file=sys.stderr)
    finally:
        for server in reversed(started):
            server.stop()
        shutil.rmtree(work, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
