"""What an open account has in memory of itself, its messages aside.

Read when it is opened; and at the end of every batch that changes more of it than numbers, in its transaction, so that
whoever has it open needs to ask nobody.
"""

import msgspec

from rookery.base.ids import AccountId
from rookery.storage.counters import WHOLE, Counter, read_counters
from rookery.storage.engine import Reader, Row

_ACCOUNT = "SELECT account, state, size_limit, message_limit FROM account WHERE id = ?"
_NAMES = "SELECT mailbox, name, special_use FROM mailbox WHERE account = ? ORDER BY mailbox"


class Outline(msgspec.Struct, frozen=True):
    """`number`: by which its other rows name it. `mailboxes`: (number, name, special use) in order of their making.
    `counters`: by mailbox, WHOLE among them; empty when a removed account is purged. `keywords`: by bit.
    """

    number: int
    state: int
    size_limit: int
    message_limit: int
    subscriptions: list[str]
    keywords: dict[int, str]
    mailboxes: list[Row]
    counters: dict[int, Counter]


def read_outline(reader: Reader, account: AccountId) -> Outline | None:
    row = reader.row(_ACCOUNT, account)
    if row is None:
        return None
    number, state, size_limit, message_limit = row
    names = reader.rows("SELECT name FROM subscription WHERE account = ? ORDER BY name", number)
    bits = reader.rows("SELECT bit, name FROM keyword WHERE account = ? ORDER BY bit", number)
    counters = read_counters(reader, number)
    return Outline(
        number,
        state,
        size_limit,
        message_limit,
        [name for (name,) in names],
        dict(bits),
        reader.rows(_NAMES, number) if WHOLE in counters else [],
        counters,
    )
