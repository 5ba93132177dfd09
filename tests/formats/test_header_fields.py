"""Header blocks: where they end, their fields, selection; and against the standard library's reader."""

import email
import email.policy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rookery.formats.headers import all_values, body_start, fields, first_values, select_fields, unfold

MESSAGE = b"Subject: one\r\nTo: a@b,\r\n\tc@d\r\nX-Empty:\r\nsubject : two\r\n\r\nSubject: body\r\n"


def test_fields_in_order_with_offsets() -> None:
    found = list(fields(MESSAGE))
    assert [field.name for field in found] == [b"Subject", b"To", b"X-Empty", b"subject"]
    assert b"".join(MESSAGE[field.start : field.end] for field in found) + b"\r\n" == MESSAGE[: body_start(MESSAGE)]
    assert unfold(MESSAGE[found[1].value : found[1].end]) == b"a@b,\tc@d"


def test_values() -> None:
    assert first_values(MESSAGE, (b"subject", b"x-empty", b"cc")) == {b"subject": b"one", b"x-empty": b""}
    assert all_values(MESSAGE, b"subject") == [b"one", b"two"]


def test_selection_keeps_order_and_octets() -> None:
    assert select_fields(MESSAGE, [b"to", b"x-empty"]) == b"To: a@b,\r\n\tc@d\r\nX-Empty:\r\n\r\n"
    assert select_fields(MESSAGE, [b"to"], exclude=True) == b"Subject: one\r\nX-Empty:\r\nsubject : two\r\n\r\n"
    assert select_fields(MESSAGE, [b"nothing"]) == b"\r\n"


@pytest.mark.parametrize(
    ("data", "start"),
    [
        (b"", 0),
        (b"\r\nbody", 2),
        (b"\nbody", 1),
        (b"A: b\n\nbody", 6),
        (b"A: b\r\n\r\nbody", 8),
        (b"A: b\r\nno end", 12),
        (b"A: b\n\r\nbody", 7),
    ],
)
def test_where_the_body_starts(data: bytes, start: int) -> None:
    assert body_start(data) == start


def test_a_line_that_is_no_field_is_passed_over() -> None:
    assert [field.name for field in fields(b"From me Thu\r\nA: 1\r\nnonsense\r\nB: 2\r\n\r\n")] == [b"A", b"B"]


def test_a_selection_of_a_header_without_end_is_still_whole_lines() -> None:
    assert select_fields(b"A: 1", [b"a"]) == b"A: 1\r\n\r\n"


NAMES = st.text("ABCdef-", min_size=1, max_size=10).filter(lambda name: name.strip("-") != "")
VALUES = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=30)


@given(st.lists(st.tuples(NAMES, st.lists(VALUES, min_size=1, max_size=3)), max_size=6))
def test_as_the_standard_library_reads_it(made: list[tuple[str, list[str]]]) -> None:
    data = "".join(f"{name}: {chr(10).join(' ' + v for v in lines).strip()}\n" for name, lines in made).encode() + b"\n"
    theirs = email.message_from_bytes(data, policy=email.policy.compat32).items()
    ours = [(f.name.decode(), unfold(data[f.value : f.end]).decode()) for f in fields(data)]
    assert ours == [(name, str(value).replace("\n", "")) for name, value in theirs]


@given(st.binary(max_size=200) | st.text("AB:\r\n \t", max_size=60).map(str.encode))
def test_nothing_breaks_it(data: bytes) -> None:
    end = body_start(data)
    assert 0 <= end <= len(data)
    last = 0
    for field in fields(data):
        assert last <= field.start < field.value <= field.end <= end
        last = field.end
    names = {field.name.lower() for field in fields(data)}
    kept = select_fields(data, names)
    assert [f.name for f in fields(kept)] == [f.name for f in fields(data)]
    assert list(fields(select_fields(data, names, exclude=True))) == []
