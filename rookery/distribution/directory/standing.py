"""What a directory is among its copies: the primary, a replica, or one that was primary before another was promoted.

Kept in the table `site`. The generation is the whole site's; keys that begin with LOCAL are of this copy alone.
"""

import hashlib
from collections.abc import Sequence

import msgspec

from rookery.base.errors import Refusal
from rookery.base.ids import RandomBytes
from rookery.distribution.directory import reads
from rookery.distribution.directory.objects import LOCAL
from rookery.distribution.directory.rules import note
from rookery.distribution.directory.values import Kind, Verb
from rookery.distribution.service.calls import Generation
from rookery.storage.engine import Reader, Row, Transaction
from rookery.storage.group_commit import Rule

GENERATION = "generation"
COPY = f"{LOCAL}copy"  # of a replica: what it is a copy of
FENCED = f"{LOCAL}fenced"  # the generation that counts in place of this one
JUMP = 65_536  # numbers left out at a promotion: those of acts that are lost are not used again


def _fence(tx: Transaction, items: Sequence[Generation]) -> list[Refusal | None]:
    put(tx, FENCED, msgspec.msgpack.encode(max(items)))
    return [None for _ in items]


FENCE: Rule[Generation, None] = Rule("fence", _fence)


class CopyState(msgspec.Struct, frozen=True, array_like=True):
    """Of a replica. `generation` 0: it has nothing yet. `schema`: with which it was made; `store`: whose accounts'
    credentials it has, unless `whole`; `missing`: but for some that were there before."""

    generation: Generation = Generation(0)
    store: str = ""
    whole: bool = True
    schema: int = 0
    missing: bool = False


def first_generation(random: RandomBytes) -> bytes:
    return msgspec.msgpack.encode(Generation(1, random(8)))


def get(reader: Reader, key: str) -> bytes | None:
    row = reader.row("SELECT value FROM site WHERE key = ?", key)
    return None if row is None else bytes(row[0])


def put(tx: Transaction, key: str, value: bytes) -> None:
    tx.run("DELETE FROM site WHERE key = ?", key)
    tx.insert_many("site", ("key", "value"), [(key, value)])


def site(reader: Reader) -> dict[str, bytes]:
    """What all copies have."""
    rows = reader.rows("SELECT key, value FROM site")
    return {key: bytes(value) for key, value in rows if not key.startswith(LOCAL)}


def generation(reader: Reader, key: str = GENERATION) -> Generation:
    data = get(reader, key)
    return Generation(0) if data is None else msgspec.msgpack.decode(data, type=Generation)


def copy_state(reader: Reader) -> CopyState | None:
    """None: it is no replica."""
    data = get(reader, COPY)
    return None if data is None else msgspec.msgpack.decode(data, type=CopyState)


def secrets(reader: Reader) -> tuple[bytes, int]:
    """The site's secret, and how often its SCRAM keys are stretched; of a replica that has nothing yet, none."""
    kept = site(reader)
    return kept.get("secret", b""), int.from_bytes(kept.get("scram-iterations", b""), "big")


def mark(reader: Reader, number: int) -> bytes:
    """Of one change: in another history it is another. b"" when the log has it not."""
    row = reader.row("SELECT number, kind, object, verb, at FROM change WHERE number = ?", number)
    return b"" if row is None else mark_of(row)


def mark_of(row: Row) -> bytes:
    return hashlib.blake2b(repr(tuple(row)).encode(), digest_size=16).digest()


def step_back(tx: Transaction) -> None:
    tx.run("DELETE FROM site WHERE key = ?", FENCED)
    put(tx, COPY, msgspec.msgpack.encode(CopyState()))


def promote(tx: Transaction, random: RandomBytes, at: int) -> Generation:
    """A replica is the primary from now on."""
    last = reads.last_change(tx)
    made = Generation(generation(tx).number + 1, random(8), last)
    put(tx, GENERATION, msgspec.msgpack.encode(made))
    for key in (COPY, FENCED):
        tx.run("DELETE FROM site WHERE key = ?", key)
    tx.run("UPDATE counter SET value = value + ? WHERE name = 'changes'", JUMP)
    note(tx, at, (Kind.NAME, f"generation {made.number}", Verb.CHANGED))
    return made
