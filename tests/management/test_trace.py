"""`rookery trace`: one message's story out of many."""

import pytest

from rookery.base.errors import RookeryError
from rookery.management.operations.trace import LINES_LIMIT, Trace, search

TEXT = """
T info smtp connected session=aaaaaaaaaaaa address=192.0.2.1
T info smtp accepted session=aaaaaaaaaaaa message=m11111111111
T info smtp accepted session=aaaaaaaaaaaa message=m22222222222
T info smtp connected session=bbbbbbbbbbbb address=192.0.2.2
T info smtp accepted session=bbbbbbbbbbbb message=m33333333333
T info queue delivered message=m11111111111 address=alice@example.test
T info queue delivered message=m22222222222 address=bob@example.test
T info smtp closed session=aaaaaaaaaaaa""".strip().splitlines()


def numbers(found: Trace) -> list[int]:
    return [TEXT.index(line) for line in found.lines]


def test_a_message_brings_its_session_but_not_the_sessions_other_messages() -> None:
    assert numbers(search("m11111111111", lambda: TEXT)) == [0, 1, 5, 7]


def test_a_session_brings_all_its_messages() -> None:
    assert numbers(search("aaaaaaaaaaaa", lambda: TEXT)) == [0, 1, 2, 5, 6, 7]


def test_an_address_brings_what_happened_to_its_messages() -> None:
    assert numbers(search("bob@example.test", lambda: TEXT)) == [2, 6]


def test_json_lines_are_understood() -> None:
    lines = [
        '{"event":"accepted","session":"aaaaaaaaaaaa","message":"m11111111111"}',
        '{"event":"delivered","message":"m11111111111"}',
        '{"event":"delivered","message":"m22222222222"}',
    ]
    assert search("aaaaaaaaaaaa", lambda: lines).lines == lines[:2]


def test_the_answer_is_bounded() -> None:
    lines = [f"T info smtp line session=aaaaaaaaaaaa n={n}" for n in range(LINES_LIMIT + 1)]
    found = search("aaaaaaaaaaaa", lambda: lines)
    assert found.truncated
    assert len(found.lines) == LINES_LIMIT


@pytest.mark.parametrize("ident", ["", "a", "a b", "x\n", "x" * 300])
def test_what_is_no_id_is_refused(ident: str) -> None:
    with pytest.raises(RookeryError):
        search(ident, list)
