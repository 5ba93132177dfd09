"""`python -m fuzz.run [--seconds N] [target...]`: coverage-guided fuzzing of parsers, one process after the other.

What was learned stays in fuzz/corpus; an input that broke something is kept in fuzz/crashes and named. Exits 1 then.
Needs atheris, which has wheels for some versions of Python only; without it the targets run on random mutations of
their seeds.
"""

import argparse
import importlib.util
import random
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from fuzz.target import Target
from fuzz.targets import TARGETS

_HERE = Path(__file__).parent
INPUT_LIMIT = 4096  # octets of one input
MEMORY_LIMIT = 2048  # megabytes of one process
SLOWEST = 10  # seconds that one input may take


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m fuzz.run", description="Fuzz the parsers.")
    parser.add_argument("--seconds", type=int, default=60, help="for each target (default 60)")
    parser.add_argument("--list", action="store_true", help="name the targets and end")
    parser.add_argument("targets", nargs="*", metavar="target", help="default: all")
    options = parser.parse_args()
    if options.list:
        print("\n".join(TARGETS))
        return
    unknown = [name for name in options.targets if name not in TARGETS]
    if unknown:
        parser.error(f"no such target: {', '.join(unknown)}; there are: {', '.join(TARGETS)}")
    guided = importlib.util.find_spec("atheris") is not None
    if not guided:
        print("atheris is not installed (pip install atheris): random mutations without guidance instead")
    fuzz = _guided if guided else _blind
    broken = [name for name in options.targets or TARGETS if not fuzz(TARGETS[name], options.seconds)]
    if broken:
        sys.exit(f"broken: {', '.join(broken)}; inputs are in {_HERE / 'crashes'}")
    print("nothing broke")


def _guided(target: Target, seconds: int) -> bool:
    corpus, crashes = _HERE / "corpus" / target.name, _HERE / "crashes"
    corpus.mkdir(parents=True, exist_ok=True)
    crashes.mkdir(exist_ok=True)
    for number, seed in enumerate(target.seeds):
        (corpus / f"seed-{number}").write_bytes(seed)
    words = _HERE / "corpus" / f"{target.name}.words"
    words.write_text("".join('"' + "".join(map("\\x{:02x}".format, word)) + '"\n' for word in target.words))
    print(f"{target.name}: {seconds} s", flush=True)
    command = [
        sys.executable, "-m", "fuzz.one", target.name, f"-max_total_time={seconds}", f"-max_len={INPUT_LIMIT}",
        *([f"-dict={words}"] if target.words else []),
        f"-artifact_prefix={crashes}/{target.name}-", f"-rss_limit_mb={MEMORY_LIMIT}",
        f"-timeout={SLOWEST}", "-print_final_stats=1", str(corpus),
    ]  # fmt: skip
    ended = subprocess.run(command, cwd=_HERE.parent, capture_output=True, text=True, errors="replace", check=False)
    lines = [line for line in (ended.stdout + ended.stderr).splitlines() if not line.startswith("INFO: Instrumenting")]
    if ended.returncode != 0:
        print("\n".join(lines[-60:]))
        return False
    units = [line.rpartition(":")[2].strip() for line in lines if "number_of_executed_units" in line]
    print(f"{target.name}: {units[-1] if units else '?'} inputs, {len(list(corpus.iterdir()))} kept")
    return True


def mutate(seed: bytes, words: tuple[bytes, ...], choose: random.Random) -> bytes:
    """A few cuts, repetitions, words and octets."""
    data = bytearray(seed)
    for _ in range(choose.randint(1, 8)):
        at = choose.randint(0, len(data))
        end = min(len(data), at + choose.choice((0, 1, 2, 8, 32)))
        put: Callable[[], bytes] = choose.choice(
            (
                lambda: b"",
                lambda: bytes((choose.randrange(256),)),
                lambda: choose.choice(words) if words else b"\r\n",
                lambda: bytes(data[choose.randint(0, len(data)) :][: choose.randint(1, 64)]),
            )
        )
        data[at:end] = put()
    return bytes(data[:INPUT_LIMIT])


def _blind(target: Target, seconds: int) -> bool:
    choose, end, count = random.Random(), time.monotonic() + seconds, 0
    pool = list(target.seeds) or [b""]
    while time.monotonic() < end:
        data = mutate(choose.choice(pool), target.words, choose)
        count += 1
        try:
            target.check(data)
        except Exception:  # noqa: BLE001  any exception is the finding
            traceback.print_exc()
            crashes = _HERE / "crashes"
            crashes.mkdir(exist_ok=True)
            (crashes / f"{target.name}-{count}").write_bytes(data)
            return False
        if len(pool) < 1000 and count % 100 == 0:
            pool.append(data)
    print(f"{target.name}: {count} inputs")
    return True


if __name__ == "__main__":
    main()
