r"""Which rows LIST and LSUB answer, from plain names: no session, no store.

RFC 9051 section 6.3.9, RFC 3501 sections 6.3.8 and 6.3.9, RFC 5258, RFC 6154.

A name that is no mailbox but has children is a row too (`\NonExistent`); so is a subscribed name that is gone. Names
that only follow from others are made one by one as they are asked for: with 64 levels they could be many.
"""

from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

import msgspec

from rookery.access.imap.patterns import Patterns
from rookery.storage.names import INBOX_NAME
from rookery.storage.values import SEPARATOR, Mailbox
from rookery.wire.imap.commands import List, ListReturn, ListSelect, Lsub

# No name holds control characters: so what is below a name comes right behind it, and INBOX before all.
_LEVEL, _FIRST = "\0", "\1"
_INBOX_BELOW = INBOX_NAME + SEPARATOR


class Row(msgspec.Struct, frozen=True):
    """One LIST or LSUB response. `children_with`: selection options that descendants match (CHILDINFO)."""

    name: str
    attributes: tuple[str, ...]
    children_with: tuple[str, ...] = ()
    mailbox: Mailbox | None = None


class Listing(msgspec.Struct, frozen=True):
    """One command's answer: a `row` for each of `names` that `patterns` match. `names` can be gone through once."""

    names: Iterator[str]
    patterns: Patterns
    row: Callable[[str], Row]

    def rows(self) -> list[Row]:
        return [self.row(name) for name in self.names if self.patterns.matches(name)]


class Tree:
    """Names in order, each before what is below it, and INBOX first."""

    __slots__ = ("_keys",)

    def __init__(self, names: Iterable[str]) -> None:
        self._keys = sorted(map(_key, names))

    def __iter__(self) -> Iterator[str]:
        return map(_name, self._keys)

    def below(self, name: str) -> bool:
        """Whether a name lies below `name`, which need not be there itself."""
        above = _key(name) + _LEVEL
        at = bisect_left(self._keys, above)
        return at < len(self._keys) and self._keys[at].startswith(above)

    def with_parents(self) -> Iterator[str]:
        """The names, and every name that has one of them below it."""
        last = ""
        for key in self._keys:
            end = key.find(_LEVEL)
            while end >= 0:
                if key[:end] != last and not last.startswith(key[: end + 1]):
                    yield _name(key[:end])
                end = key.find(_LEVEL, end + 1)
            yield _name(key)
            last = key


def _key(name: str) -> str:
    first = _FIRST if name == INBOX_NAME or name.startswith(_INBOX_BELOW) else ""
    return first + name.replace(SEPARATOR, _LEVEL)


def _name(key: str) -> str:
    return key.removeprefix(_FIRST).replace(_LEVEL, SEPARATOR)


def list_rows(command: List, mailboxes: Sequence[Mailbox], subscriptions: Collection[str], *, rev2: bool) -> Listing:
    """The answer to LIST, in order. `rev2`: the client enabled IMAP4rev2, every answer is extended."""
    existing = {mailbox.name: mailbox for mailbox in mailboxes}
    tree = Tree(existing)
    subscribed = frozenset(subscriptions)
    select = command.select

    criteria: list[tuple[str, Tree]] = []  # CHILDINFO word, the names whose ancestors carry it
    selected = tree
    if ListSelect.SUBSCRIBED in select:
        selected = Tree(subscribed)
        criteria.append(("SUBSCRIBED", selected))
    if ListSelect.SPECIAL_USE in select:
        special = {mailbox.name for mailbox in mailboxes if mailbox.special_use}
        selected = Tree(special & subscribed if criteria else special)
        criteria.append(("SPECIAL-USE", Tree(special)))
    recursive = ListSelect.RECURSIVEMATCH in select
    names = selected.with_parents() if recursive or not criteria else iter(selected)

    with_subscribed = ListSelect.SUBSCRIBED in select or ListReturn.SUBSCRIBED in command.returns
    extended = rev2 or command.extended

    def row(name: str) -> Row:
        mailbox = existing.get(name)
        attributes: list[str] = []
        if mailbox is None:
            attributes.append("\\NonExistent" if extended else "\\Noselect")
        attributes.append("\\HasChildren" if tree.below(name) else "\\HasNoChildren")
        if with_subscribed and name in subscribed:
            attributes.append("\\Subscribed")
        if mailbox is not None and mailbox.special_use:
            attributes.append("\\" + mailbox.special_use.value)
        found = recursive and selected.below(name)
        below = tuple(word for word, having in criteria if having.below(name)) if found else ()
        return Row(name, tuple(attributes), below, mailbox)

    return Listing(names, Patterns(command.reference, command.patterns), row)


def lsub_rows(command: Lsub, mailboxes: Sequence[Mailbox], subscriptions: Collection[str]) -> Listing:
    r"""The answer to LSUB: subscribed names; a last `%` also finds levels above such names, as `\Noselect`."""
    existing = {mailbox.name: mailbox for mailbox in mailboxes}
    subscribed = frozenset(subscriptions)
    tree = Tree(subscribed)

    def row(name: str) -> Row:
        return Row(name, () if name in subscribed and name in existing else ("\\Noselect",), (), existing.get(name))

    names = tree.with_parents() if command.pattern.endswith("%") else iter(tree)
    return Listing(names, Patterns(command.reference, (command.pattern,)), row)
