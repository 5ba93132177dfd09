"""What the builders write, imapclient's own lexer reads back."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from imapclient.imap_utf7 import decode as their_utf7
from imapclient.response_parser import parse_fetch_response, parse_response

from rookery.base.numberset import NumberSet
from rookery.formats.address import Address
from rookery.formats.envelope import Envelope
from rookery.formats.mime import parse
from rookery.wire.imap import fetch_responses as f
from rookery.wire.imap import responses as r
from rookery.wire.imap.commands import StatusItem

_LITERAL = re.compile(rb"~?\{(\d+)\}\r\n")


def as_client(line: bytes) -> list[bytes | tuple[bytes, bytes]]:
    """One response in the shape in which imaplib hands it on: pairs of text and literal, then the rest."""
    assert line.startswith(b"* ")
    assert line.endswith(b"\r\n")
    line = re.sub(rb"^(\d+) FETCH \(", rb"\1 (", line[2:-2])
    parts: list[bytes | tuple[bytes, bytes]] = []
    pos = 0
    while (found := _LITERAL.search(line, pos)) is not None:
        end = found.end() + int(found[1])
        parts.append((line[pos : found.end() - 2].replace(b"~{", b"{"), line[found.end() : end]))
        pos = end
    return [*parts, line[pos:]]


def tokens(value: bytes) -> Any:
    """A parenthesised value as nested tuples."""
    return parse_response(as_client(b"* " + value + b"\r\n"))[0]


TEXTS = st.binary(max_size=40) | st.text(max_size=20).map(str.encode)


@given(TEXTS)
def test_strings(data: bytes) -> None:
    kept = data.replace(b"\x00", b"\x80")
    assert tokens(b"(" + r.string(data) + b")") == (kept,)
    assert tokens(b"(" + r.nstring(data, True) + b")") == (kept,)
    assert tokens(b"(" + r.literal8(data) + b")") == (data,)
    assert tokens(b"(" + r.nstring(None) + b")") == (None,)


def test_8_bit_text_is_a_literal_unless_utf8_is_enabled() -> None:
    assert r.string("ä".encode()) == b"{2}\r\n\xc3\xa4"
    assert r.string("ä".encode(), True) == b'"\xc3\xa4"'
    assert r.string(b"\xe4", True) == b"{1}\r\n\xe4"
    assert r.string(b'a"b\\') == b'"a\\"b\\\\"'
    assert r.string(b"a\r\nb") == b"{4}\r\na\r\nb"


@given(st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=20))
def test_mailbox_names(name: str) -> None:
    (read,) = tokens(b"(" + r.mailbox(name) + b")")
    assert their_utf7(read) == name
    (read,) = tokens(b"(" + r.mailbox(name, True) + b")")
    assert read.decode() == name


def test_lines() -> None:
    assert r.ok(b"a", "done") == b"a OK done\r\n"
    assert r.no(b"a", "no\r\nsuch", b"TRYCREATE") == b"a NO [TRYCREATE] no such\r\n"
    assert r.bad(b"*", "") == b"* BAD -\r\n"
    assert r.bye("so long") == b"* BYE so long\r\n"
    assert r.preauth("hello", b"X") == b"* PREAUTH [X] hello\r\n"
    assert r.append_uid(7, NumberSet([(1, 3)])) == b"APPENDUID 7 1:3"
    assert r.copy_uid(7, NumberSet([(1, 3)]), NumberSet([(5, 7)])) == b"COPYUID 7 1:3 5:7"
    assert r.permanent_flags(["\\Seen"], True) == b"PERMANENTFLAGS (\\Seen \\*)"
    assert r.capability_line(["IMAP4rev1", "IDLE"]) == b"* CAPABILITY IMAP4rev1 IDLE\r\n"
    assert r.enabled([]) == b"* ENABLED\r\n"
    assert r.enabled(["UTF8=ACCEPT"]) == b"* ENABLED UTF8=ACCEPT\r\n"
    assert r.flags_line(["\\Seen", "x"]) == b"* FLAGS (\\Seen x)\r\n"
    assert r.exists(3) + r.recent(0) + r.expunge(2) == b"* 3 EXISTS\r\n* 0 RECENT\r\n* 2 EXPUNGE\r\n"
    assert r.vanished(NumberSet([(1, 2)]), earlier=True) == b"* VANISHED (EARLIER) 1:2\r\n"
    assert r.search([]) == b"* SEARCH\r\n"
    assert r.search([2, 5], modseq=9) == b"* SEARCH 2 5 (MODSEQ 9)\r\n"
    assert r.esearch(b"a", uid=True) == b'* ESEARCH (TAG "a") UID\r\n'
    assert r.esearch(b"a", uid=False, least=1, greatest=9, all=NumberSet([(1, 9)]), count=9, modseq=4) == (
        b'* ESEARCH (TAG "a") MIN 1 MAX 9 ALL 1:9 COUNT 9 MODSEQ 4\r\n'
    )
    assert r.esearch(b"a", uid=False, all=NumberSet(), count=0) == b'* ESEARCH (TAG "a") COUNT 0\r\n'
    assert r.namespace([("", "/")]) == b'* NAMESPACE (("" "/")) NIL NIL\r\n'
    assert r.id_line(None) == b"* ID NIL\r\n"
    assert r.id_line({"name": "Rookery", "x": None}) == b'* ID ("name" "Rookery" "x" NIL)\r\n'
    assert r.quota("", [("STORAGE", 1, 2)]) == b'* QUOTA "" (STORAGE 1 2)\r\n'
    assert r.quota_root("INBOX", [""]) == b'* QUOTAROOT "INBOX" ""\r\n'


def test_lists() -> None:
    assert r.list_line(["\\HasNoChildren"], "/", "Entwürfe") == b'* LIST (\\HasNoChildren) "/" "Entw&APw-rfe"\r\n'
    assert r.list_line([], None, "", lsub=True) == b'* LSUB () NIL ""\r\n'
    assert r.list_line(["\\Subscribed"], "/", "a", child_info=["SUBSCRIBED"], old_name="b", utf8=True) == (
        b'* LIST (\\Subscribed) "/" "a" ("CHILDINFO" ("SUBSCRIBED") "OLDNAME" ("b"))\r\n'
    )
    assert r.status("a b", {StatusItem.MESSAGES: 3, StatusItem.MAILBOXID: "F1"}) == (
        b'* STATUS "a b" (MESSAGES 3 MAILBOXID (F1))\r\n'
    )


NSTRINGS = st.none() | st.binary(min_size=1, max_size=15).map(lambda b: b.replace(b"\x00", b""))
ADDRESSES = st.lists(st.tuples(NSTRINGS, NSTRINGS, NSTRINGS, NSTRINGS).map(lambda t: Address(*t)), max_size=3).map(
    tuple
)


@given(st.builds(Envelope, NSTRINGS, NSTRINGS, *[ADDRESSES] * 6, NSTRINGS, NSTRINGS), st.booleans())
def test_envelopes(made: Envelope, utf8: bool) -> None:
    def addresses(some: tuple[Address, ...]) -> Any:
        return tuple(tuple(address) for address in some) or None

    assert tokens(f.envelope(made, utf8)) == (
        made.date, made.subject, addresses(made.from_), addresses(made.sender), addresses(made.reply_to),
        addresses(made.to), addresses(made.cc), addresses(made.bcc), made.in_reply_to, made.message_id,
    )  # fmt: skip


def test_fetch_lines_are_read_by_a_client() -> None:
    line = f.fetch(
        3,
        [
            f.uid_item(9),
            f.flags_item(["\\Seen", "x"]),
            f.date_item(1_700_000_000),
            f.size_item(5),
            f.modseq_item(7),
            f.section_item(b"BODY[]", b"a\r\nb)"),
            f.section_item(b"BODY[9]", None),
        ],
    )
    read = parse_fetch_response(as_client(line), normalise_times=False)[9]
    assert (read[b"SEQ"], read[b"FLAGS"], read[b"RFC822.SIZE"]) == (3, (b"\\Seen", b"x"), 5)
    assert (read[b"BODY[]"], read[b"BODY[9]"], read[b"MODSEQ"]) == (b"a\r\nb)", None, (7,))
    assert read[b"INTERNALDATE"].timestamp() == 1_700_000_000
    assert f.saved_item(None) == b"SAVEDATE NIL"
    assert f.binary_item(b"BINARY[1]", b"\x00") == b"BINARY[1] ~{1}\r\n\x00"
    assert f.binary_item(b"BINARY[1]", b"a") == b"BINARY[1] {1}\r\na"
    assert f.binary_item(b"BINARY[1]", None) == b"BINARY[1] NIL"
    assert f.binary_size_item(b"BINARY.SIZE[1]", 4) == b"BINARY.SIZE[1] 4"


def test_many_flag_lines() -> None:
    flags = [r.flag_list([]), r.flag_list(["\\Seen"])]
    assert f.flag_lines([1, 2], None, flags) == b"* 1 FETCH (FLAGS ())\r\n* 2 FETCH (FLAGS (\\Seen))\r\n"
    assert f.flag_lines([1, 2], [5, 6], flags) == (
        b"* 1 FETCH (UID 5 FLAGS ())\r\n* 2 FETCH (UID 6 FLAGS (\\Seen))\r\n"
    )


MESSAGE = (
    b"From: a@b\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n"
    b"--x\r\n\r\none\r\ntwo\r\n"
    b"--x\r\nContent-Type: message/rfc822\r\n\r\nSubject: in\r\n\r\nbody\r\n"
    b"--x\r\nContent-Type: application/pdf; name=a.pdf\r\nContent-Transfer-Encoding: BASE64\r\nContent-ID: <1>\r\n"
    b'Content-Disposition: attachment; filename="a b.pdf"\r\nContent-Language: de, en\r\nContent-MD5: x\r\n'
    b"Content-Location: here\r\nContent-Description: d\r\n\r\nAAAA\r\n"
    b"--x--\r\n"
)


def test_body_structure() -> None:
    root = parse(MESSAGE)
    inner = b'("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 4 0'
    envelope = b'(NIL "in" NIL NIL NIL NIL NIL NIL NIL NIL)'
    size = len(b"Subject: in\r\n\r\nbody")
    assert f.body_structure(MESSAGE, root, extended=False) == (
        b'(("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 8 1)'
        b'("message" "rfc822" NIL NIL NIL "7bit" %d %b %b) 2)'
        b'("application" "pdf" ("name" "a.pdf") "<1>" "d" "base64" 4) "mixed")' % (size, envelope, inner)
    )
    extended = f.body_structure(MESSAGE, root, extended=True)
    assert (
        b'("attachment" ("filename" "a b.pdf")) ("de" "en") "here") "mixed" ("boundary" "x") NIL NIL NIL)' in extended
    )
    line = f.fetch(1, [b"BODYSTRUCTURE " + extended])
    structure = parse_fetch_response(as_client(line), uid_is_key=False)[1][b"BODYSTRUCTURE"]
    assert structure.is_multipart
    assert [part[1] for part in structure[0]] == [b"plain", b"rfc822", b"pdf"]


@pytest.mark.parametrize("type", [b"multipart/mixed", b"multipart/mixed; boundary=none"])
def test_a_multipart_without_parts_still_has_a_legal_structure(type: bytes) -> None:
    message = b"Content-Type: " + type + b"\r\n\r\nx"
    structure = f.body_structure(message, parse(message), extended=False)
    assert structure == b'(("text" "plain" NIL NIL NIL "7bit" 0 0) "mixed")'


@given(st.binary(max_size=150))
def test_any_structure_is_legal(junk: bytes) -> None:
    message = (
        b"Content-Type: " + junk + b"\r\nContent-Disposition: " + junk + b"\r\nContent-ID: " + junk + b"\r\n\r\n" + junk
    )
    for extended in (True, False):
        tokens(f.body_structure(message, parse(message), extended=extended))
