"""Running numbers after a fail-over, or after a restore: the database may lack commits that clients have seen.

No UID and no change number is used twice if both go on far above whatever can have been lost; UIDVALIDITY stays.
Only the transaction that also writes `account.opened_under` may do it: a crash between the two would lose the jump.
What is lost may be an earlier jump, and what was given out after it: so each fail-over since then counts.
"""

from collections.abc import Mapping

from rookery.storage.counters import COUNTER_COLUMNS, WHOLE, Counter, read_births
from rookery.storage.engine import Transaction

UIDS = 1 << 20
CHANGES = 1 << 32


def steps(before: str, now: str) -> int:
    """How many fail-overs may lie between two timelines, `system/number`: every one of a system has a higher number
    than those before it. 1 after a restore, or when the database is of another system.
    """
    system, _, number = now.partition("/")
    if not before.startswith(system + "/"):
        return 1
    return max(1, int(number, 16) - int(before.partition("/")[2], 16))


def jump(tx: Transaction, accounts: Mapping[int, int]) -> None:
    """By so many steps each of these accounts, by number, whose rows are locked. Births that the counters leave out are
    counted first: afterwards they could not be told.
    """
    births = read_births(tx, list(accounts))
    changed = []
    for account, *numbers in tx.select_many("counter", COUNTER_COLUMNS, ("account",), [(a,) for a in accounts]):
        counter = Counter(*numbers)
        for birth in births.get(account, ()):
            if counter.mailbox in (WHOLE, birth.mailbox):
                counter.count(birth)
        counter.modseq += CHANGES * accounts[account]
        if counter.mailbox != WHOLE:
            counter.uidnext += UIDS * accounts[account]
        changed.append((account, counter.mailbox, *counter.values()))
    tx.update_many("counter", ("account", "mailbox"), COUNTER_COLUMNS[2:], changed)
