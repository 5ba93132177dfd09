r"""Which rows LIST and LSUB answer, from plain names: no session, no store.

RFC 9051 section 6.3.9, RFC 3501 sections 6.3.8 and 6.3.9, RFC 5258, RFC 6154.

A name that is no mailbox but has children is a row too (`\NonExistent`); so is a subscribed name that is gone.
"""

from collections.abc import Collection, Iterable, Sequence

import msgspec

from rookery.access.imap.patterns import matcher
from rookery.storage.names import INBOX_NAME, parents
from rookery.storage.values import SEPARATOR, Mailbox
from rookery.wire.imap.commands import List, ListReturn, ListSelect, Lsub


class Row(msgspec.Struct, frozen=True):
    """One LIST or LSUB response. `children_with`: selection options that descendants match (CHILDINFO)."""

    name: str
    attributes: tuple[str, ...]
    children_with: tuple[str, ...] = ()
    mailbox: Mailbox | None = None


def _parents(names: Iterable[str]) -> set[str]:
    """Every name that has one of `names` below it."""
    found: set[str] = set()
    for name in names:
        if SEPARATOR in name:
            found.update(parents(name))
    return found


def list_rows(command: List, mailboxes: Sequence[Mailbox], subscriptions: Collection[str], *, rev2: bool) -> list[Row]:
    """The answer to LIST, by name with INBOX first. `rev2`: the client enabled IMAP4rev2, every answer is extended."""
    existing = {mailbox.name: mailbox for mailbox in mailboxes}
    with_children = _parents(existing)
    subscribed = set(subscriptions)
    select = command.select
    matches = matcher(command.reference, command.patterns)

    selected = existing.keys() | with_children
    criteria: list[tuple[str, set[str]]] = []  # CHILDINFO word, the names whose ancestors carry it
    if ListSelect.SUBSCRIBED in select:
        selected = subscribed
        criteria.append(("SUBSCRIBED", _parents(subscribed)))
    if ListSelect.SPECIAL_USE in select:
        special = {mailbox.name for mailbox in mailboxes if mailbox.special_use}
        selected = selected & special
        criteria.append(("SPECIAL-USE", _parents(special)))
    rows = selected
    if ListSelect.RECURSIVEMATCH in select:
        above = _parents(selected)
        rows = selected | above
        criteria = [(word, names & above) for word, names in criteria]
    else:
        criteria = []

    with_subscribed = ListSelect.SUBSCRIBED in select or ListReturn.SUBSCRIBED in command.returns
    extended = rev2 or command.extended
    answer = []
    for name in sorted(filter(matches, rows), key=_order):
        mailbox = existing.get(name)
        attributes: list[str] = []
        if mailbox is None:
            attributes.append("\\NonExistent" if extended else "\\Noselect")
        attributes.append("\\HasChildren" if name in with_children else "\\HasNoChildren")
        if with_subscribed and name in subscribed:
            attributes.append("\\Subscribed")
        if mailbox is not None and mailbox.special_use:
            attributes.append("\\" + mailbox.special_use.value)
        below = tuple(word for word, names in criteria if name in names)
        answer.append(Row(name, tuple(attributes), below, mailbox))
    return answer


def lsub_rows(command: Lsub, mailboxes: Sequence[Mailbox], subscriptions: Collection[str]) -> list[Row]:
    r"""The answer to LSUB: subscribed names; a last `%` also finds levels above such names, as `\Noselect`."""
    existing = {mailbox.name: mailbox for mailbox in mailboxes}
    subscribed = set(subscriptions)
    matches = matcher(command.reference, (command.pattern,))
    found = {name for name in subscribed if matches(name)}
    implied: set[str] = set()
    if command.pattern.endswith("%"):
        implied = {name for name in _parents(subscribed) if name not in found and matches(name)}
    return [
        Row(name, () if name in found and name in existing else ("\\Noselect",), (), existing.get(name))
        for name in sorted(found | implied, key=_order)
    ]


def _order(name: str) -> tuple[bool, str]:
    return name != INBOX_NAME, name
