"""Keywords: the account's names for bits 5 to 61 of a message's flags.

Compared without regard to case (RFC 9051 2.3.2), kept as first written. When all bits are taken, those that no message
carries any more are given to new names.
"""

from collections.abc import Iterable

from rookery.base.errors import Cause, Refusal
from rookery.storage.batch import AccountRow
from rookery.storage.engine import Transaction
from rookery.storage.values import FIRST_KEYWORD_BIT, KEYWORD_LIMIT

KEYWORD_LENGTH = 128  # characters

_BITS = range(FIRST_KEYWORD_BIT, FIRST_KEYWORD_BIT + KEYWORD_LIMIT)


def load_keywords(tx: Transaction, row: AccountRow) -> dict[str, int]:
    """Bit by folded name."""
    if row.keywords is None:
        found = tx.rows("SELECT name, bit FROM keyword WHERE account = ?", row.number)
        row.keywords = {name.lower(): bit for name, bit in found}
    return row.keywords


def keyword_bits(tx: Transaction, row: AccountRow, names: Iterable[str], *, create: bool = True) -> int | Refusal:
    """The flags for these keywords; unknown ones are given a bit, or with `create` false left out."""
    known = load_keywords(tx, row)
    flags = 0
    for name in names:
        folded = name.lower()
        bit = known.get(folded)
        if bit is None:
            if not create:
                continue
            if not 0 < len(name) <= KEYWORD_LENGTH or not name.isascii() or not name.isprintable() or " " in name:
                return Refusal(Cause.INVALID, f"a keyword has 1 to {KEYWORD_LENGTH} printable ASCII characters")
            free = _free_bit(tx, row, known)
            if free is None:
                return Refusal(Cause.TOO_MANY, f"an account has at most {KEYWORD_LIMIT} keywords")
            bit = known[folded] = free
            tx.insert_many("keyword", ("account", "bit", "name"), [(row.number, bit, name)])
            row.renamed = True
        flags |= 1 << bit
        row.promised |= 1 << bit
    return flags


def _free_bit(tx: Transaction, row: AccountRow, known: dict[str, int]) -> int | None:
    """A bit nobody has, after taking back those that no message carries."""
    taken = set(known.values())
    for bit in _BITS:
        if bit not in taken:
            return bit
    carried = row.promised
    for (flags,) in tx.rows("SELECT DISTINCT flags FROM presence WHERE account = ?", row.number):
        carried |= flags
    idle = [(name, bit) for name, bit in known.items() if not carried >> bit & 1]
    for name, _ in idle:
        del known[name]
    tx.delete_many("keyword", ("account", "bit"), [(row.number, bit) for _, bit in idle])
    return idle[0][1] if idle else None
