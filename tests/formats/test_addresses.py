"""Address lists as mail has them; compared with the standard library where that is right."""

from email.utils import formataddr, getaddresses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rookery.formats.address import ADDRESS_LIMIT, GROUP_END, TEXT_LIMIT, Address, parse_addresses


def _one(mailbox: bytes, host: bytes, name: bytes | None = None, route: bytes | None = None) -> Address:
    return Address(name, route, mailbox, host)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"", []),
        (b"a@b.c", [_one(b"a", b"b.c")]),
        (b"<a@b.c>", [_one(b"a", b"b.c")]),
        (b"Alice Example <a@b.c>", [_one(b"a", b"b.c", b"Alice Example")]),
        (b'"Dave, D." <d@e>, x@y', [_one(b"d", b"e", b"Dave, D."), _one(b"x", b"y")]),
        (b'"a\\"b" <q@r>', [_one(b"q", b"r", b'a"b')]),
        (b"J. P. Doe <x@[1.2.3.4]>", [_one(b"x", b"[1.2.3.4]", b"J. P. Doe")]),
        (b"x@y (Full (nested) Name)", [_one(b"x", b"y", b"Full (nested) Name")]),
        (b"<@r1,@r2:u@h>", [_one(b"u", b"h", None, b"@r1,@r2")]),
        (b'"x y"@h', [_one(b"x y", b"h")]),
        (b"john . doe @ example . com", [_one(b"john.doe", b"example.com")]),
        (b"=?utf-8?q?=C3=A4?= <a@b>", [_one(b"a", b"b", b"=?utf-8?q?=C3=A4?=")]),
        (b"Gr\xfc\xdfe <a@b>", [_one(b"a", b"b", b"Gr\xfc\xdfe")]),
        (b"undisclosed-recipients:;", [Address(None, None, b"undisclosed-recipients", None), GROUP_END]),
        (b"g: x@y, z@w;, a@b", [Address(None, None, b"g", None), _one(b"x", b"y"), _one(b"z", b"w"), GROUP_END,
                                _one(b"a", b"b")]),
        (b"g: x@y", [Address(None, None, b"g", None), _one(b"x", b"y"), GROUP_END]),
        (b"alice", [_one(b"alice", b"MISSING_DOMAIN")]),
        (b"Name <>", [_one(b"MISSING_MAILBOX", b"MISSING_DOMAIN", b"Name")]),
        (b", ,,", []),
    ],
)  # fmt: skip
def test_known_forms(value: bytes, expected: list[Address]) -> None:
    assert parse_addresses(value) == expected


ATOMS = st.text("abcXYZ019-_+", min_size=1, max_size=8)
DOT_ATOMS = st.lists(ATOMS, min_size=1, max_size=3).map(".".join)
NAMES = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20).map(lambda t: " ".join(t.split()))


@given(st.lists(st.tuples(NAMES, DOT_ATOMS, DOT_ATOMS), min_size=1, max_size=5))
def test_what_the_standard_library_writes_we_read(people: list[tuple[str, str, str]]) -> None:
    field = ", ".join(formataddr((name, f"{local}@{host}")) for name, local, host in people)
    found = parse_addresses(field.encode())
    assert [(a.name or b"", a.spec) for a in found] == [(n.encode(), f"{m}@{h}".encode()) for n, m, h in people]
    assert [a.spec.decode() for a in found] == [spec for _, spec in getaddresses([field])]


@given(st.binary(max_size=100) | st.text('<>@,;:()[]".\\ ab\t', max_size=60).map(str.encode))
def test_nothing_breaks_it(value: bytes) -> None:
    groups = 0
    for address in parse_addresses(value):
        if address.is_group_mark:
            groups += 1 if address.mailbox is not None else -1
            assert groups in (0, 1)
        else:
            assert address.mailbox
            assert address.host
    assert groups == 0


def test_long_fields_are_cut() -> None:
    assert len(parse_addresses(b"a@b," * 100_000)) == ADDRESS_LIMIT
    assert len(parse_addresses(b"a" * (2 * TEXT_LIMIT))[0].mailbox or b"") == TEXT_LIMIT
