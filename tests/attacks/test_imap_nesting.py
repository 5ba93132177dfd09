"""Parentheses, NOTs and ORs without end, sets of a million ranges, lists of everything."""

import pytest

from rookery.wire.imap import search as s
from rookery.wire.imap.commands import Search
from rookery.wire.imap.grammar_search import DEPTH_LIMIT, KEY_LIMIT
from rookery.wire.imap.limits import AFTER_LOGIN
from tests.wire.imap.imap_driver import one, refused


@pytest.mark.parametrize(
    "keys",
    [
        b"(" * 10_000 + b"ALL" + b")" * 10_000,
        b"NOT " * 10_000 + b"ALL",
        b"OR " * 5_000 + b"ALL" + b" ALL" * 5_000,
        b"NOT (" * 5_000 + b"ALL" + b")" * 5_000,
        b"OR ALL " * 5_000 + b"ALL",
        b"(" * 10_000,
    ],
)
def test_search_keys_nested_without_end(keys: bytes) -> None:
    assert b"nested deeper than 50" in refused(b"a SEARCH " + keys).answer


def test_what_is_nested_within_the_limit_is_read() -> None:
    command = one(b"a SEARCH " + b"NOT (" * (DEPTH_LIMIT // 2) + b"SEEN" + b")" * (DEPTH_LIMIT // 2)).command
    assert isinstance(command, Search)
    assert isinstance(command.key, s.Not)


def test_search_keys_without_number() -> None:
    assert b"more than 1000 search keys" in refused(b"a SEARCH" + b" ALL" * (KEY_LIMIT + 1)).answer
    assert one(b"a SEARCH" + b" ALL" * KEY_LIMIT).tag == b"a"


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        (b"FETCH " + b"1," * 20_000 + b"1 FLAGS", b"more than 10000 ranges"),
        (b"FETCH 1 (" + b" ".join(b"BODY[%d]" % i for i in range(1, 400)) + b")", b"more than 200 fetch items"),
        (b"FETCH 1 BODY[HEADER.FIELDS (" + b" ".join(b"x%d" % i for i in range(400)) + b")]", b"more than 200 header"),
        (b"FETCH 1 BODY[" + b"1." * 10_000 + b"1]", b"more than 100 levels"),
        (b"STORE 1 FLAGS (" + b" ".join(b"f%d" % i for i in range(400)) + b")", b"more than 200 flags"),
        (b"STORE 1 FLAGS (" + b"f" * 1000 + b")", b"more than 200 octets"),
        (b'LIST "" (' + b"a " * 400 + b"b)", b"more than 50 patterns"),
        (b'LIST "" ' + b"*%" * 400, b"more than 20 wildcards"),
        (b"ENABLE" + b" X" * 400, b"more than 50 capabilities"),
        (b"ID (" + b" ".join(b'"a" "b"' for _ in range(400)) + b")", b"more than 30 fields"),
        (b"SEARCH TEXT " + b"x" * 5000, b"more than 4096 octets"),
    ],
)
def test_lists_are_limited(line: bytes, answer: bytes) -> None:
    assert answer in refused(b"a " + line).answer


def test_a_line_of_nothing_but_parentheses() -> None:
    for line in (b"a FETCH 1 " + b"(" * 60_000, b"a LIST " + b"(" * 60_000, b"(" * (AFTER_LOGIN.line - 10)):
        assert refused(line).answer.count(b"\r\n") == 1
