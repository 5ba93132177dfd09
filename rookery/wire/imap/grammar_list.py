"""The arguments of LIST, LSUB and STATUS (RFC 9051 sections 6.3.9 and 6.3.11; RFC 5258, RFC 5819, RFC 6154)."""

from enum import Enum
from typing import TypeVar

from rookery.wire.imap.commands import List, ListReturn, ListSelect, Lsub, Status, StatusItem
from rookery.wire.imap.scanner import Scanner, Wrong

PATTERN_LIMIT = 50  # patterns of one LIST
WILDCARD_LIMIT = 20  # `*` and `%` in one pattern: matching costs time

_STATUS_ITEMS = {item.value.decode("ascii"): item for item in StatusItem}
_Option = TypeVar("_Option", bound=Enum)


def list_mailboxes(scanner: Scanner) -> List:
    extended = False
    select: frozenset[ListSelect] = frozenset()
    if scanner.accept(b"("):
        extended = True
        select = _select_options(scanner)
        scanner.space()
    reference = _reference(scanner)
    scanner.space()
    if scanner.accept(b"("):
        extended = True
        patterns = _patterns(scanner)
    else:
        patterns = (_pattern(scanner),)
    returns: frozenset[ListReturn] = frozenset()
    status: tuple[StatusItem, ...] = ()
    if not scanner.at_end:
        extended = True
        scanner.space()
        start = scanner.pos
        if scanner.word("RETURN") != "RETURN":
            raise Wrong("expected RETURN", start)
        scanner.space()
        returns, status = _return_options(scanner)
    scanner.end()
    return List(reference, patterns, select, returns, status, extended)


def lsub(scanner: Scanner) -> Lsub:
    reference = _reference(scanner)
    scanner.space()
    pattern = _pattern(scanner)
    scanner.end()
    return Lsub(reference, pattern)


def _reference(scanner: Scanner) -> str:
    return scanner.mailbox("a reference name")


def _pattern(scanner: Scanner) -> str:
    start = scanner.pos
    pattern = scanner.list_pattern()
    if pattern.count("*") + pattern.count("%") > WILDCARD_LIMIT:
        raise Wrong(f"a pattern with more than {WILDCARD_LIMIT} wildcards", start)
    return pattern


def _patterns(scanner: Scanner) -> tuple[str, ...]:
    found = [_pattern(scanner)]
    while not scanner.accept(b")"):
        scanner.space()
        found.append(_pattern(scanner))
        if len(found) > PATTERN_LIMIT:
            raise Wrong(f"more than {PATTERN_LIMIT} patterns", scanner.pos)
    return tuple(found)


def _option(scanner: Scanner, kind: type[_Option]) -> _Option:
    start = scanner.pos
    try:
        return kind(scanner.word("an option"))
    except ValueError:
        raise Wrong("no such option of LIST", start) from None


def _select_options(scanner: Scanner) -> frozenset[ListSelect]:
    start = scanner.pos
    found: set[ListSelect] = set()
    first = True
    while not scanner.accept(b")"):
        if not first:
            scanner.space()
        first = False
        found.add(_option(scanner, ListSelect))
    if ListSelect.RECURSIVEMATCH in found and not found & {ListSelect.SUBSCRIBED, ListSelect.SPECIAL_USE}:
        # RFC 9051 6.3.9.1: "cannot be used ... alone" nor with REMOTE only
        raise Wrong("RECURSIVEMATCH needs another selection option", start)
    return frozenset(found)


def _return_options(scanner: Scanner) -> tuple[frozenset[ListReturn], tuple[StatusItem, ...]]:
    scanner.expect(b"(")
    found: set[ListReturn] = set()
    status: tuple[StatusItem, ...] = ()
    first = True
    while not scanner.accept(b")"):
        if not first:
            scanner.space()
        first = False
        option = _option(scanner, ListReturn)
        found.add(option)
        if option is ListReturn.STATUS:
            scanner.space()
            status = _status_items(scanner)
    return frozenset(found), status


def status(scanner: Scanner) -> Status:
    mailbox = scanner.mailbox()
    scanner.space()
    items = _status_items(scanner)
    scanner.end()
    return Status(mailbox, items)


def _status_items(scanner: Scanner) -> tuple[StatusItem, ...]:
    scanner.expect(b"(")
    items: dict[StatusItem, None] = {}
    while True:
        start = scanner.pos
        item = _STATUS_ITEMS.get(scanner.word("a status item"))
        if item is None:
            raise Wrong("no such status item", start)
        items[item] = None
        if scanner.accept(b")"):
            return tuple(items)
        scanner.space()
