r"""The mailbox a session has selected: its view, what is \Recent to it, the saved search result, and what to report."""

from collections.abc import Sequence

from rookery.access.imap.columns import Plan, make_plan
from rookery.access.imap.content import Content
from rookery.access.imap.flags import SYSTEM_NAMES, FlagTexts
from rookery.access.imap.targets import Rows
from rookery.access.imap.view import Updates, View
from rookery.base.numberset import NumberSet
from rookery.storage.mailbox_state import MailboxState
from rookery.storage.open_account import OpenAccount
from rookery.storage.values import SYSTEM_FLAGS, Mailbox, Presence, Verb
from rookery.wire.imap.fetch import Attribute
from rookery.wire.imap.responses import flags_line, ok, permanent_flags

KEYWORD_BITS = ((1 << 62) - 1) & ~SYSTEM_FLAGS

_NONE = NumberSet()
_FLAGS = make_plan((Attribute.FLAGS,))
_UID_FLAGS = make_plan((Attribute.UID, Attribute.FLAGS))
_MODSEQ_FLAGS = make_plan((Attribute.UID, Attribute.MODSEQ, Attribute.FLAGS))


class Selected:
    """`known`: the keywords that the client has been told of in a FLAGS response."""

    __slots__ = ("account", "known", "number", "readonly", "recent", "saved", "state", "view")

    def __init__(self, account: OpenAccount, mailbox: Mailbox, *, readonly: bool) -> None:
        self.account = account
        self.number = mailbox.number
        self.readonly = readonly
        self.state: MailboxState = account.select(mailbox.number)
        self.view = View(self.state, account.modseq)
        self.recent = NumberSet()
        self.saved = NumberSet()
        self.known = 0

    def release(self) -> None:
        self.state.release()

    def texts(self) -> FlagTexts:
        return FlagTexts(self.account.keyword_names)

    def any_deleted(self) -> bool:
        r"""Whether there is anything \Deleted."""
        mailbox = self.account.by_number(self.number)
        return mailbox is not None and mailbox.deleted > 0

    def numbers_of(self, uids: NumberSet) -> NumberSet:
        """Message sequence numbers of these UIDs."""
        return NumberSet([(start + 1, stop) for start, stop in self.view.spans_of_uids(uids)])

    def hide_own(self, before: int, modseq: int, uids: NumberSet, added: int, removed: int) -> None:
        """The client knows of the flags it has just set on `uids`: such changes in (before, modseq] need no telling.

        Another session's change in between that did just the same to some of these needs none either.
        """
        mine = self.view.own if self.view.own is not None else set()
        for change in self.account.latest(before, self.number) or ():
            same = change.verb is Verb.CHANGED and change.added == added and change.removed == removed
            if same and change.modseq <= modseq and not change.uids - uids:
                mine.add(change.modseq)
        self.view.own = mine

    def recent_count(self) -> int:
        return sum(stop - start for start, stop in self.view.spans_of_uids(self.recent))

    def flags_text(self) -> bytes:
        r"""`* FLAGS` and PERMANENTFLAGS as they are now, and remember what was told.

        \* stays even when all keyword bits are taken: one may come free any moment.
        """
        self.known = self.account.keyword_bits(self.account.keywords_of(self.number))
        names = [*SYSTEM_NAMES, *self.account.keyword_names(self.known)]
        permanent = [] if self.readonly else names
        code = permanent_flags(permanent, keywords_allowed=not self.readonly)
        return flags_line(names) + ok(b"*", "Read-only" if self.readonly else "Flags kept", code)

    def updates(self, *, expunge: bool) -> Updates | None:
        """What has happened since the last call, for telling it; None when that is nothing."""
        account, view = self.account, self.view
        if account.modseq == view.modseq and not (expunge and view.gone):
            return None
        if account.by_number(self.number) is None:
            return view.vanish() if expunge and view.count else None
        changes = account.latest(view.modseq, self.number)
        if changes is None:
            return view.compare(account.modseq, expunge=expunge)
        return view.advance(changes, account.modseq, expunge=expunge)

    def messages(self, presences: Sequence[Presence]) -> Content:
        """Messages to be read, without rows."""
        made = self.content(Rows(self.view, self.state, 0, 0), _NONE, self.texts())
        made.presences = presences
        return made

    def content(self, rows: Rows, changed: NumberSet, texts: FlagTexts) -> Content:
        return Content(self.account, rows, texts, self.recent, changed)

    def flag_lines(self, spans: Sequence[tuple[int, int]], *, uid: bool, modseq: bool) -> bytes:
        """Untagged FETCH with the flags of the messages there; one line of FLAGS before, if a keyword is new."""
        plan: Plan = _MODSEQ_FLAGS if modseq else _UID_FLAGS if uid else _FLAGS
        texts = self.texts()
        parts: list[bytes] = []
        seen = 0
        for start, stop in spans:
            rows = Rows(self.view, self.state, start, stop)
            for flags in set(rows.flags):  # few combinations, however many messages
                seen |= flags
            parts.append(plan.render(self.content(rows, _NONE, texts)))
        if seen & KEYWORD_BITS & ~self.known:
            parts.insert(0, self.flags_text())
        return b"".join(parts)
