"""`python -m bench`: measure Rookery and the peers in turn and print ratios with their spread.

python -m bench [--quick] [--rounds N] [--messages N] [--mailbox N] [--folder DIR] [MEASURE ...]
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench import report
from bench.loads import imap, mail
from bench.peers.base import Missing, Server, resident
from bench.peers.dovecot import Dovecot
from bench.peers.postfix import Postfix
from bench.peers.postgresql import PostgreSQL
from bench.peers.rookery import Rookery
from bench.report import Figure


@dataclass
class Plan:
    """How much of everything."""

    rounds: int
    messages: int
    mailbox: int
    idle: int


@dataclass
class Shared:
    """Rookery with everything on PostgreSQL."""

    rookery: Rookery
    postgresql: PostgreSQL

    def stop(self) -> None:
        self.rookery.stop()
        self.postgresql.stop()


@dataclass
class Bench:
    plan: Plan
    rookery: Rookery
    shared: "Shared | None"
    dovecot: Dovecot | None
    postfix: Postfix | None
    wanted: set[str]

    def pairs(
        self,
        name: str,
        unit: str,
        measure: Callable[[Server], float],
        peer: Server | None,
        *,
        own: Rookery | None = None,
        target: float | None = None,
        less_is_better: bool = False,
    ) -> list[Figure]:
        """Rookery and the peer in turn, `rounds` times."""
        if self.wanted and not any(word in name for word in self.wanted):
            return []
        ours: list[float] = []
        theirs: list[float] = []
        for _ in range(self.plan.rounds):
            ours.append(measure(own or self.rookery))
            if peer is not None:
                theirs.append(measure(peer))
        print(f"  {name}: {ours[-1]:,.1f} / {theirs[-1] if theirs else float('nan'):,.1f} {unit}", flush=True)
        return [Figure(name, unit, ours, theirs if peer else [], peer.name if peer else "-", target, less_is_better)]


def delivery(bench: Bench) -> list[Figure]:
    messages = bench.plan.messages

    def lmtp(pipeline: bool, connections: int = mail.CONNECTIONS) -> Callable[[Server], float]:
        return lambda server: mail.send(
            server.ports.lmtp, lmtp=True, messages=messages, pipeline=pipeline, connections=connections
        )

    def smtp(server: Server) -> float:
        assert isinstance(server, Rookery | Postfix)
        return mail.smtp_to_mailbox_rate(server.ports.smtp, server.queued, messages=messages)

    ways = (("pipelining", True), ("step by step", False))
    found: list[Figure] = []
    for name, pipeline in ways:
        found += bench.pairs(f"lmtp, {name}", "msg/s", lmtp(pipeline), bench.dovecot, target=5)
    if bench.shared is not None:
        shared, before, known = bench.shared, bench.shared.postgresql.logged(), len(found)
        for connections in (mail.CONNECTIONS, mail.MANY):
            for name, pipeline in ways:
                name = f"lmtp on postgresql, {connections} connections, {name}"
                measure = lmtp(pipeline, connections)
                found += bench.pairs(name, "msg/s", measure, bench.dovecot, own=shared.rookery, target=4)
        sent = sum(len(figure.ours) for figure in found[known:]) * messages
        if sent:
            print(f"  PostgreSQL logged {(shared.postgresql.logged() - before) / sent:,.0f} octets a delivery of 4 kB")
    return found + bench.pairs("smtp in to mailbox", "msg/s", smtp, bench.postfix, target=5)


MAILBOX = "Measured"


def reading(bench: Bench) -> list[Figure]:
    """Commands on one mailbox of `plan.mailbox` messages."""
    count = bench.plan.mailbox
    peer = bench.dovecot
    filled: set[str] = set()

    def on_mailbox(*commands: bytes, rounds: int = 1) -> Callable[[Server], float]:
        def measure(server: Server) -> float:
            if server.name not in filled:
                imap.fill(server.ports.imap, 60, MAILBOX, count)
                filled.add(server.name)
            return imap.command_rate(server.ports.imap, 60, MAILBOX, list(commands), count, rounds)

        return measure

    def select(server: Server) -> float:
        return imap.select_rate(server.ports.imap, 60, MAILBOX)

    flag, unflag = b"STORE 1:* +FLAGS (\\Flagged)", b"STORE 1:* -FLAGS (\\Flagged)"
    quiet = (flag.replace(b"FLAGS ", b"FLAGS.SILENT "), unflag.replace(b"FLAGS ", b"FLAGS.SILENT "))
    measures: list[tuple[str, str, Callable[[Server], float]]] = [
        ("imap fetch flags", "msg/s", on_mailbox(b"FETCH 1:* (FLAGS)", rounds=3)),
        ("imap fetch envelope", "msg/s", on_mailbox(b"FETCH 1:* (ENVELOPE)")),
        ("imap fetch bodystructure", "msg/s", on_mailbox(b"FETCH 1:* (BODYSTRUCTURE)")),
        ("imap fetch bodies", "msg/s", on_mailbox(b"FETCH 1:* (BODY.PEEK[])")),
        ("imap store", "msg/s", on_mailbox(flag, unflag)),
        ("imap store silent", "msg/s", on_mailbox(*quiet)),
        ("imap search subject", "msg/s", on_mailbox(b"SEARCH SUBJECT nowhere")),
        ("imap search flags", "msg/s", on_mailbox(b"SEARCH UNSEEN UNFLAGGED", rounds=3)),
        ("imap select", "1/s", select),
    ]
    figures: list[Figure] = []
    for name, unit, measure in measures:
        figures += bench.pairs(name, unit, measure, peer, target=1)
    figures += bench.pairs(
        "imap append, 20 connections", "msg/s", lambda s: imap.parallel_append_rate(s.ports.imap), peer, target=1
    )
    return figures + bench.pairs("imap login + logout", "1/s", lambda s: imap.login_rate(s.ports.imap), peer, target=1)


def memory(bench: Bench) -> list[Figure]:
    """Octets of resident memory per idle connection (logged in, INBOX selected, IDLE)."""

    def per_connection(tls: bool) -> Callable[[Server], float]:
        def measure(server: Server) -> float:
            port = server.ports.imaps if tls else server.ports.imap
            imap.close_all(imap.open_idle(port, 50, tls=tls))
            before = resident(server.pids())
            held = imap.open_idle(port, bench.plan.idle, tls=tls)
            after = resident(server.pids())
            imap.close_all(held)
            return (after - before) / bench.plan.idle / 1024

        return measure

    few = Bench(Plan(1, 0, 0, bench.plan.idle), bench.rookery, None, bench.dovecot, None, bench.wanted)
    plain = few.pairs("idle imap, plain", "kB", per_connection(False), few.dovecot, target=16, less_is_better=True)
    return plain + few.pairs("idle imap, tls", "kB", per_connection(True), few.dovecot, target=6, less_is_better=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--quick", action="store_true", help="one short round of everything")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--messages", type=int, default=5000, help="per delivery round")
    parser.add_argument("--mailbox", type=int, default=10_000, help="messages in the mailbox that is read")
    parser.add_argument("--idle", type=int, default=1000, help="idle connections held")
    parser.add_argument("--folder", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("measure", nargs="*", help="words of the measures wanted; all by default")
    given = parser.parse_args()
    plan = Plan(given.rounds, given.messages, given.mailbox, given.idle)
    if given.quick:
        plan = Plan(1, 1000, 1000, 100)
    work = Path(tempfile.mkdtemp(prefix="rookery-bench-"))
    work.chmod(0o755)  # Dovecot's mail processes run as another user
    started: list[Server] = []
    shared: Shared | None = None
    try:
        rookery = Rookery(work / "rookery", accounts=64)
        started.append(rookery)
        dovecot, postfix = _peers(work, started)
        shared = _shared(work)
        bench = Bench(plan, rookery, shared, dovecot, postfix, set(given.measure))
        figures = [*delivery(bench), *reading(bench), *memory(bench)]
    finally:
        for server in reversed(started):
            server.stop()
        if shared is not None:
            shared.stop()
        shutil.rmtree(work, ignore_errors=True)
    print()
    print(report.table(figures))
    report.write(figures, given.folder)
    print(f"\nchart: {given.folder}/chart.svg, chart.png; figures: results.json")
    if "commit" in given.measure or not given.measure:
        print("\ncommit latency while other clients saturate the event loop:")
        subprocess.run([sys.executable, "-m", "bench.commit_latency"], check=False)
    return 0


def _shared(work: Path) -> Shared | None:
    try:
        postgresql = PostgreSQL(work / "postgresql")
    except Missing as missing:
        print(f"not measured on PostgreSQL: {missing}", file=sys.stderr)
        return None
    return Shared(Rookery(work / "shared", accounts=64, database=postgresql.uri), postgresql)


def _peers(work: Path, started: list[Server]) -> tuple[Dovecot | None, Postfix | None]:
    try:
        dovecot = Dovecot(work / "dovecot", mail_format="sdbox")
        started.append(dovecot)
        postfix = Postfix(work / "postfix", dovecot.ports.lmtp)
        started.append(postfix)
    except Missing as missing:
        print(f"measured without a peer: {missing}", file=sys.stderr)
        return (dovecot if started[1:] else None), None
    return dovecot, postfix


if __name__ == "__main__":
    sys.exit(main())
