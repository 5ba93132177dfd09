"""Running numbers after a fail-over, or after a restore: the database may lack commits that clients have seen.

No UID and no change number is used twice if both go on far above whatever can have been lost; UIDVALIDITY stays.
Only the transaction that also writes `account.opened_under` may do it: a crash between the two would lose the jump.
"""

from collections.abc import Sequence

from rookery.storage.counters import COUNTER_COLUMNS, WHOLE, Counter, read_births
from rookery.storage.engine import Transaction

UIDS = 1 << 20
CHANGES = 1 << 32


def jump(tx: Transaction, accounts: Sequence[int]) -> None:
    """Of these accounts, by number, whose rows are locked. Births that the counters leave out are counted first:
    afterwards they could not be told.
    """
    births = read_births(tx, accounts)
    changed = []
    for account, *numbers in tx.select_many("counter", COUNTER_COLUMNS, ("account",), [(a,) for a in accounts]):
        counter = Counter(*numbers)
        for birth in births.get(account, ()):
            if counter.mailbox in (WHOLE, birth.mailbox):
                counter.count(birth)
        counter.modseq += CHANGES
        if counter.mailbox != WHOLE:
            counter.uidnext += UIDS
        changed.append((account, counter.mailbox, *counter.values()))
    tx.update_many("counter", ("account", "mailbox"), COUNTER_COLUMNS[2:], changed)
