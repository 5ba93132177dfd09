"""The MIME tree: broken messages, limits, and the standard library as an oracle where both are right."""

import email
import email.message
import email.policy
from email.mime.application import MIMEApplication
from email.mime.base import MIMEBase
from email.mime.message import MIMEMessage
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rookery.formats.mime import Limits, Part, parse, parse_content_type, parse_disposition
from rookery.formats.structure import locate, message_in
from rookery.formats.text import decode_body


def _crlf(text: bytes) -> bytes:
    return text.replace(b"\n", b"\r\n")


def _shape(part: Part) -> object:
    kind = (part.content_type.type + b"/" + part.content_type.subtype).decode()
    return [kind, *map(_shape, part.children)] if part.children else kind


def _body(data: bytes, part: Part) -> bytes:
    return data[part.body_start : part.end]


MIXED = _crlf(b"""\
Content-Type: multipart/mixed; boundary="outer"

preamble
--outer
Content-Type: text/plain

one
--outer
Content-Type: multipart/alternative; boundary=inner

--inner

two
--inner
Content-Type: text/html; charset="utf-8"

<p>three
--inner--
--outer
Content-Type: message/rfc822

Subject: inside

four
--outer--
epilogue
""")


def test_shape_and_bodies() -> None:
    root = parse(MIXED)
    assert _shape(root) == [
        "multipart/mixed", "text/plain", ["multipart/alternative", "text/plain", "text/html"],
        ["message/rfc822", "text/plain"],
    ]  # fmt: skip
    assert _body(MIXED, root.children[0]) == b"one"
    assert _body(MIXED, root.children[1].children[0]) == b"two"
    assert _body(MIXED, root.children[2]) == b"Subject: inside\r\n\r\nfour"
    assert root.children[2].lines == 2


def test_lone_lf_gives_the_same_tree() -> None:
    plain = MIXED.replace(b"\r\n", b"\n")
    assert _shape(parse(plain)) == _shape(parse(MIXED))
    assert _body(plain, parse(plain).children[0]) == b"one"


def test_numbers() -> None:
    root = parse(MIXED)
    assert locate(root, ()) is root
    assert locate(root, (1,)) is root.children[0]
    assert locate(root, (2, 2)) is root.children[1].children[1]
    assert locate(root, (3, 1)) is root.children[2].children[0]
    assert message_in(root.children[2]) is root.children[2].children[0]
    for absent in ((4,), (1, 1), (2, 3), (3, 2), (3, 1, 1)):
        assert locate(root, absent) is None
    single = parse(b"Subject: x\r\n\r\nbody")
    assert locate(single, (1,)) is single
    assert locate(single, (2,)) is None
    assert locate(single, (1, 1)) is None


@pytest.mark.parametrize(
    ("data", "shape"),
    [
        (b"", "text/plain"),
        (b"Content-Type: nonsense\r\n\r\nx", "text/plain"),
        (b"Content-Type: multipart/mixed\r\n\r\n--x\r\n", "multipart/mixed"),  # no boundary
        (b"Content-Type: multipart/mixed; boundary=x\r\n\r\nnothing", "multipart/mixed"),
        (b"Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\na", ["multipart/mixed", "text/plain"]),
        (b"Content-Type: multipart/mixed; boundary=x\r\n\r\n--x", ["multipart/mixed", "text/plain"]),
        (b"Content-Type: multipart/mixed; boundary=x\r\n\r\n--x--\r\n--x\r\n\r\na", "multipart/mixed"),
        (b"Content-Type: multipart/mixed; boundary=x\r\n\r\n--xy\r\n\r\na\r\n--x \t\r\n\r\nb",
         ["multipart/mixed", "text/plain"]),
        (b"Content-Type: multipart/digest; boundary=x\r\n\r\n--x\r\n\r\nA: b\r\n\r\n--x--",
         ["multipart/digest", ["message/rfc822", "text/plain"]]),
        # an enclosing boundary ends everything inside
        (b"Content-Type: multipart/mixed; boundary=o\r\n\r\n--o\r\nContent-Type: multipart/mixed; boundary=i\r\n\r\n"
         b"--i\r\n\r\na\r\n--o\r\n\r\nb\r\n--i\r\n\r\nc\r\n--o--",
         ["multipart/mixed", ["multipart/mixed", "text/plain"], "text/plain"]),
        # a boundary inside a header
        (b"Content-Type: multipart/mixed; boundary=o\r\n\r\n--o\r\nA: b\r\n--o\r\n\r\nx\r\n--o--",
         ["multipart/mixed", "text/plain", "text/plain"]),
    ],
)  # fmt: skip
def test_broken_messages(data: bytes, shape: object) -> None:
    assert _shape(parse(data)) == shape


def test_limits_leave_parts_whole() -> None:
    assert _shape(parse(MIXED, Limits(depth=0))) == "text/plain"
    assert _shape(parse(MIXED, Limits(depth=1))) == [
        "multipart/mixed", "text/plain", "text/plain", "application/octet-stream",
    ]  # fmt: skip
    root = parse(MIXED, Limits(parts=3))
    assert _shape(root) == ["multipart/mixed", "text/plain", "text/plain"]
    assert root.children[1].end == len(MIXED)


@pytest.mark.parametrize(
    ("value", "type", "parameters"),
    [
        (b"text/plain", b"text/plain", ()),
        (b"TEXT/Plain; CharSet=UTF-8", b"text/plain", ((b"charset", b"UTF-8"),)),
        (b"text/plain; charset=us-ascii (Plain text)", b"text/plain", ((b"charset", b"us-ascii"),)),
        (b'a/b; name="x; \\"y\\""; z = 1', b"a/b", ((b"name", b'x; "y"'), (b"z", b"1"))),
        (b"a/b;;; name=x y z; q=2", b"a/b", ((b"name", b"x"), (b"q", b"2"))),
        (b'a/b; name="unfinished', b"a/b", ((b"name", b"unfinished"),)),
        (b"a/b; (c) name=(d)x", b"a/b", ((b"name", b"x"),)),
        (b"a/b; junk; name=", b"a/b", ((b"name", b""),)),
    ],
)
def test_content_types(value: bytes, type: bytes, parameters: tuple[tuple[bytes, bytes], ...]) -> None:
    found = parse_content_type(value)
    assert found is not None
    assert (found.type + b"/" + found.subtype, found.parameters) == (type, parameters)


def test_dispositions() -> None:
    found = parse_disposition(b'Attachment; filename="a b.txt"; size=3')
    assert found is not None
    assert (found.kind, found.parameters) == (b"attachment", ((b"filename", b"a b.txt"), (b"size", b"3")))
    assert parse_disposition(b"inline") is not None
    assert parse_disposition(b"; x=y") is None


# --- the standard library as an oracle -----------------------------------------------------------------------------

LEAVES = st.one_of(
    st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=60).map(lambda t: MIMEText(t, "plain", "utf-8")),
    st.binary(max_size=60).map(lambda b: MIMEApplication(b)),
)


def _multipart(children: list[MIMEBase]) -> MIMEMultipart:
    made = MIMEMultipart("mixed")
    for child in children:
        made.attach(child)
    return made


TREES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, min_size=1, max_size=3).map(_multipart) | inner.map(lambda m: MIMEMessage(m)),
    max_leaves=6,
)


def _their_shape(message: email.message.Message) -> object:
    inner = message.get_payload() if message.is_multipart() else []
    assert isinstance(inner, list)
    kind = message.get_content_type()
    return [kind, *map(_their_shape, inner)] if inner else kind


def _their_leaves(message: email.message.Message) -> list[bytes]:
    return [bytes(p.get_payload(decode=True)) for p in message.walk() if not p.is_multipart()]


def _our_leaves(data: bytes, part: Part) -> list[bytes]:
    if part.children:
        return [body for child in part.children for body in _our_leaves(data, child)]
    return [decode_body(data, part)]


@settings(max_examples=60, deadline=None)
@given(TREES)
def test_as_the_standard_library_reads_it(tree: MIMEBase) -> None:
    data = tree.as_bytes(policy=email.policy.SMTP)
    theirs = email.message_from_bytes(data, policy=email.policy.compat32)
    ours = parse(data)
    assert _shape(ours) == _their_shape(theirs)
    assert _our_leaves(data, ours) == _their_leaves(theirs)


PIECES = st.sampled_from(
    [b"--x", b"--x--", b"--y", b"\r\n", b"\n", b"Content-Type: multipart/mixed; boundary=x", b"text", b": ", b"--",
     b"Content-Type: message/rfc822", b"Content-Type: multipart/digest; boundary=y", b" ", b"\r"]
)  # fmt: skip


def _check_offsets(part: Part, low: int, high: int) -> None:
    assert low <= part.header_start <= part.body_start <= part.end <= high
    last = part.body_start
    for child in part.children:
        _check_offsets(child, last, part.end)
        last = child.end


@given(st.lists(PIECES, max_size=40).map(b"".join) | st.binary(max_size=200))
def test_nothing_breaks_it(data: bytes) -> None:
    _check_offsets(parse(data), 0, len(data))
    _check_offsets(parse(data, Limits(depth=2, parts=4)), 0, len(data))
