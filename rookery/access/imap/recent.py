r"""Which session is the first to see a message: \Recent of IMAP4rev1 (RFC 3501 section 2.3.2).

For each mailbox one number is remembered: UIDs below it have been shown to some session as recent. It is kept in memory
for mailboxes in use and written down with the derived data, which may be lost: then messages count as recent once more,
as RFC 3501 wishes when it is not known.
"""

from collections import OrderedDict

from rookery.base.ids import AccountId
from rookery.base.numberset import NumberSet
from rookery.storage.open_account import OpenAccount

KIND = "imap-recent-1"  # under the mailbox's number made negative, which no email has
MARKS_LIMIT = 50_000  # mailboxes remembered in memory


class RecentMarks:
    """One for all sessions of a process."""

    __slots__ = ("_marks",)

    def __init__(self) -> None:
        self._marks: OrderedDict[tuple[AccountId, int], int] = OrderedDict()

    def look(self, account: OpenAccount, mailbox: int, uidnext: int) -> NumberSet:
        """UIDs below `uidnext` that no session has been shown yet."""
        first = self._mark(account, mailbox)
        return NumberSet([(first, uidnext - 1)]) if first < uidnext else NumberSet()

    def claim(self, account: OpenAccount, mailbox: int, uidnext: int) -> NumberSet:
        """As `look`, and from now on they have been shown."""
        found = self.look(account, mailbox, uidnext)
        if found:
            self._marks[account.account, mailbox] = uidnext
            account.put_many(KIND, {-mailbox: uidnext.to_bytes(4, "big")})
        return found

    def _mark(self, account: OpenAccount, mailbox: int) -> int:
        key = (account.account, mailbox)
        mark = self._marks.get(key)
        if mark is None:
            kept = account.get_many(KIND, (-mailbox,)).get(-mailbox)
            mark = self._marks[key] = int.from_bytes(kept, "big") if kept else 1
            if len(self._marks) > MARKS_LIMIT:
                self._marks.popitem(last=False)
        else:
            self._marks.move_to_end(key)
        return mark
