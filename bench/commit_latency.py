"""How long a commit takes while the event loop is saturated, with the loop giving way to the writer and without.

python -m bench.commit_latency [--seconds 2] [--folder DIR]

The loop runs callbacks of 20 or 200 µs of pure Python without a pause, as protocol work is; each calls `give_way`, as a
stream does when octets arrive. Beside it 50 clients append 4 kB each through the writer (segment, index row, flushes),
one at a time each. `share`: of the loop's callbacks that an idle writer would have allowed.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import uvloop

from rookery.base.clock import SystemClock
from rookery.base.errors import Refusal
from rookery.base.ids import BlobId, new_blob_id
from rookery.storage.blobs import BLOB_TABLE, BlobStore
from rookery.storage.engine import Transaction
from rookery.storage.files import DiskFiles
from rookery.storage.gate import Gate
from rookery.storage.group_commit import Plain, Rule
from rookery.storage.migrations import Migration
from rookery.storage.sqlite import SqliteDatabase
from rookery.storage.writer import Writer

CLIENTS = 50
BODY = b"x" * 4096
COLUMNS = ("blob", "segment", "offset", "length", "codec", "size", "refs", "ended")
SWITCH_INTERVALS = (0.005, 0.0005)  # CPython's default, and a tenth of it


class Deaf(Gate):
    """Does not give way."""

    def give_way(self) -> None:
        return


class Load:
    """Callbacks of about `length` seconds, one behind the other, for ever."""

    def __init__(self, length: float, gate: Gate) -> None:
        self._turns = max(1, int(length / _turn_time()))
        self._gate = gate
        self._loop = asyncio.get_running_loop()
        self.running = True
        self.callbacks = 0

    def __call__(self) -> None:
        self._gate.give_way()
        _spin(self._turns)
        self.callbacks += 1
        if self.running:
            self._loop.call_soon(self)


def _spin(turns: int) -> int:
    total = 0
    for n in range(turns):
        total += n
    return total


def _turn_time() -> float:
    began = time.perf_counter()
    _spin(1_000_000)
    return (time.perf_counter() - began) / 1_000_000


def _rule(plain: Plain) -> Rule[BlobId, int]:
    def apply(tx: Transaction, items: Sequence[BlobId]) -> Sequence[int | Refusal]:
        places = [(blob, plain.places[blob]) for blob in items]
        tx.select_many("blob", COLUMNS, ("blob",), [(blob,) for blob in items])
        rows = [(b, p.segment, p.offset, p.length, p.codec, p.length, 1, None) for b, p in places]
        tx.insert_many("blob", COLUMNS, rows)
        return [1] * len(items)

    return Rule("insert", apply)


@dataclass(frozen=True, slots=True)
class Result:
    """Latencies in seconds, appends and callbacks per second."""

    latencies: list[float]
    appends: float
    callbacks: float

    def at(self, share: float) -> float:
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else float("inf")


async def measure(folder: Path, length: float | None, gate: Gate, seconds: float, clients: int = CLIENTS) -> Result:
    """`length` None: nothing else on the loop. `clients` 0: only the load."""
    database = SqliteDatabase(folder / "index.db", (Migration(1, (BLOB_TABLE,)),))
    blobs = BlobStore(folder, DiskFiles())
    plain, clock = Plain(), SystemClock()
    rule = _rule(plain)
    writer = Writer(database, blobs, gate, limit_bytes=64 << 20, clock=clock, batching=plain)
    latencies: list[float] = []
    load = Load(length, gate) if length is not None else None
    end = time.perf_counter() + seconds

    async def client() -> None:
        while time.perf_counter() < end:
            staging = blobs.stage()
            staging.write(BODY)
            staged = staging.finish()
            blob = new_blob_id(clock)
            began = time.perf_counter()
            await writer.run(rule, blob, bodies=[(blob, staged)])
            latencies.append(time.perf_counter() - began)
            staged.release()

    if load is not None:
        load()
    began = time.perf_counter()
    await asyncio.gather(asyncio.sleep(seconds), *(client() for _ in range(clients)))
    took = time.perf_counter() - began
    callbacks = load.callbacks if load is not None else 0
    if load is not None:
        load.running = False
    await writer.close()
    blobs.close()
    database.close()
    return Result(latencies, len(latencies) / took, callbacks / took)


def _run(parent: Path, length: float | None, gate: Gate, seconds: float, clients: int = CLIENTS) -> Result:
    with tempfile.TemporaryDirectory(dir=parent) as folder:
        return uvloop.run(measure(Path(folder), length, gate, seconds, clients))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--folder", type=Path, default=None)
    arguments = parser.parse_args()
    print(f"{'load':>8} {'switch':>8} {'gives way':>10} {'p50 ms':>8} {'p99 ms':>8} {'appends/s':>10} {'share':>6}")
    for interval in SWITCH_INTERVALS:
        sys.setswitchinterval(interval)
        for length in (None, 20e-6, 200e-6):
            alone = _run(arguments.folder, length, Deaf(), 0.5, clients=0).callbacks if length else 0.0
            for gate in (Gate(), Deaf()):
                result = _run(arguments.folder, length, gate, arguments.seconds)
                name = f"{length * 1e6:.0f} us" if length else "idle"
                print(
                    f"{name:>8} {interval * 1e3:>6.1f}ms {'no' if isinstance(gate, Deaf) else 'yes':>10}"
                    f" {result.at(0.5) * 1e3:>8.1f} {result.at(0.99) * 1e3:>8.1f} {result.appends:>10.0f}"
                    f" {result.callbacks / alone if alone else 0:>6.2f}"
                )


if __name__ == "__main__":
    main()
