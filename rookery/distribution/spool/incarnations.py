"""Who works on the spool. Every start of a node is an incarnation; what it claims carries its number.

Who has died is decided elsewhere. Ending an incarnation is one statement, which waits for its batch under way: after
it nothing that it claimed can be settled by it, and no batch in its name is committed. Its claims are made due in
slices; a claim whose incarnation has ended is nobody's, whoever left it behind.
"""

from collections.abc import Sequence

import msgspec

from rookery.distribution.spool.values import State
from rookery.storage.engine import Database, KeyExists, Reader, Transaction

MARKS = 256  # message ids of incarnations that live at the same time differ in their last eight bits
SLICE = 1000  # messages

_DUE, _CLAIMED = int(State.DUE), int(State.CLAIMED)


class Incarnation(msgspec.Struct, frozen=True):
    """`holder`: the node, as the nodes name each other. `started`: seconds UTC."""

    incarnation: int
    holder: str
    started: int


def living(reader: Reader) -> list[Incarnation]:
    rows = reader.rows("SELECT incarnation, holder, started FROM incarnation WHERE ended IS NULL ORDER BY incarnation")
    return [Incarnation(*row) for row in rows]


def begin(tx: Transaction, holder: str, now: int) -> int:
    """A new incarnation. Two that begin at the same moment meet at the key: KeyExists, and the later tries again."""
    row = tx.row("SELECT max(incarnation) FROM incarnation")
    number = int(row[0] or 0) + 1 if row is not None else 1
    taken = {other.incarnation % MARKS for other in living(tx)}
    while number % MARKS in taken and len(taken) < MARKS:
        number += 1
    tx.run("DELETE FROM incarnation WHERE ended IS NOT NULL")  # the greatest number is in use: none comes back
    tx.run("INSERT INTO incarnation (incarnation, holder, started) VALUES (?, ?, ?)", number, holder, now)
    return number


def begin_incarnation(database: Database, holder: str, now: int) -> int:
    while True:
        try:
            with database.write() as tx:
                return begin(tx, holder, now)
        except KeyExists:
            continue


def end(tx: Transaction, incarnations: Sequence[int], now: int) -> None:
    """Those that have ended already, or never were, are well."""
    for incarnation in sorted(incarnations):
        tx.run("UPDATE incarnation SET ended = ? WHERE incarnation = ? AND ended IS NULL", now, incarnation)


def release(tx: Transaction, now: int, limit: int = SLICE) -> int:
    """Make due what incarnations that ended had claimed, of at most `limit` messages; returns of how many."""
    found = tx.rows(
        "SELECT DISTINCT message FROM recipient WHERE state = ? AND claimant NOT IN"
        " (SELECT incarnation FROM incarnation WHERE ended IS NULL) ORDER BY message LIMIT ?",
        _CLAIMED, limit,
    )  # fmt: skip
    tx.lock_many("message", ("message",), found)
    for (message,) in found:
        tx.run(
            "UPDATE recipient SET state = ?, next = ?, claimant = NULL WHERE message = ? AND state = ? AND claimant"
            " NOT IN (SELECT incarnation FROM incarnation WHERE ended IS NULL)",
            _DUE, now, message, _CLAIMED,
        )  # fmt: skip
    return len(found)
