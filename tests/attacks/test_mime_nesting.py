"""MIME made to exhaust whoever takes it apart: nesting of 10,000, parts without number, boundaries that never match.

Not timed: a parser that were quadratic in any of these would not come back.
"""

import pytest

from rookery.formats.envelope import envelope
from rookery.formats.mime import DEFAULT_LIMITS, Part, parse
from rookery.formats.structure import locate
from rookery.formats.text import message_contains, walk
from rookery.wire.imap.fetch_responses import body_structure

MULTIPART = b'Content-Type: multipart/mixed; boundary="x"\r\n\r\n'


def _depth(root: Part) -> int:
    depth, level = 0, [root]
    while level:
        depth, level = depth + 1, [child for part in level for child in part.children]
    return depth


NESTED_MULTIPARTS = b"".join(
    b'Content-Type: multipart/mixed; boundary="b%d"\r\n\r\n--b%d\r\n' % (i, i) for i in range(10_000)
)
NESTED_ALIKE = (MULTIPART + b"--x\r\n") * 10_000
NESTED_MESSAGES = b"Content-Type: message/rfc822\r\n\r\n" * 10_000
NESTED_DIGESTS = b"".join(
    b"Content-Type: multipart/digest; boundary=b%d\r\n\r\n--b%d\r\n\r\n" % (i, i) for i in range(10_000)
)


@pytest.mark.parametrize(
    "bomb",
    [NESTED_MULTIPARTS, NESTED_ALIKE, NESTED_MESSAGES, NESTED_DIGESTS],
    ids=["multiparts", "one-boundary", "messages", "digests"],
)
def test_nesting_of_10_000_is_harmless(bomb: bytes) -> None:
    bomb += b"Content-Type: text/plain\r\n\r\nneedle\r\n"
    root = parse(bomb)
    assert _depth(root) <= DEFAULT_LIMITS.depth + 1
    assert len(body_structure(bomb, root, extended=True)) < 1_500_000
    assert locate(root, (1,) * 200) is None or _depth(root) > 100
    message_contains(bomb, root, "needle")
    envelope(bomb)


@pytest.mark.parametrize(
    ("body", "parts"),
    [
        (b"--x\r\n\r\na\r\n" * 1_000_000, DEFAULT_LIMITS.parts),
        (b"--x\r\n" * 1_000_000, DEFAULT_LIMITS.parts),
        (b"--x\n" * 1_000_000, DEFAULT_LIMITS.parts),
        (b"--xx\r\n" * 1_000_000, 1),
        (b"--x a\r\n" * 1_000_000, 1),
        (b"--\r\n" * 1_000_000, 1),
        (b"\r\n" * 1_000_000, 1),
        (b"--x--" + b"--x\r\n" * 1_000_000, 1),
    ],
)
def test_parts_and_delimiters_without_number(body: bytes, parts: int) -> None:
    message = MULTIPART + body
    root = parse(message)
    assert sum(1 for _ in walk(root)) == parts
    assert len(body_structure(message, root, extended=False)) < 1_000_000


def test_nesting_around_a_large_body_costs_a_bounded_multiple_of_its_size() -> None:
    """Every level must find its boundary in all that is inside: the levels that there is no budget for are not read."""
    message = NESTED_MULTIPARTS[:4000] + b"\r\n" + b"y" * 20_000_000
    assert 2 < _depth(parse(message)) <= DEFAULT_LIMITS.depth + 1


def test_a_boundary_of_a_megabyte_is_none() -> None:
    long = b"z" * 1_000_000
    message = b"Content-Type: multipart/mixed; boundary=" + long + b"\r\n\r\n--" + long + b"\r\n\r\na\r\n"
    assert parse(message).children == []
