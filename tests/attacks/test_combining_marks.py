"""Text of nothing but combining marks: putting them in order takes quadratic time, unless the runs are cut."""

import unicodedata

import pytest

from rookery.formats.mime import parse
from rookery.formats.text import FOLD_CHARACTERS, body_contains, fold_case, holds
from rookery.storage.names import canonical, check_name

ABOVE, BELOW = "\u0301", "\u0323"  # whichever comes first, BELOW is put first


@pytest.mark.parametrize(
    "unit", [ABOVE + BELOW, "\uff9e" + ABOVE, "\u0344" + BELOW, "\u0f73" + ABOVE, "\U0001d165\u0323"]
)
def test_marks_without_number(unit: str) -> None:
    assert fold_case(unit * 100_000)


def test_a_body_of_marks_is_searched() -> None:
    head = b"Content-Type: text/plain; charset=utf-8\r\n\r\n"
    mail = head + ((ABOVE + BELOW) * 50_000 + "Needle").encode()
    assert body_contains(mail, parse(mail), fold_case("NEEDLE"))


def test_what_people_write_is_folded_as_ever() -> None:
    for text in ("Straße", "e" + ABOVE + BELOW, "\ufdfa", "한국어", "Ελληνικός", "a" + ABOVE * 28 + BELOW):
        normal = unicodedata.normalize("NFKD", text).casefold()
        assert fold_case(text) == unicodedata.normalize("NFKD", normal)


def test_folding_in_pieces_gives_what_folding_at_once_gives() -> None:
    text = "x" * (FOLD_CHARACTERS - 1) + "e" + ABOVE + BELOW + "é" * FOLD_CHARACTERS
    assert fold_case(text) == unicodedata.normalize("NFKD", text).casefold()


def test_a_mailbox_name_of_marks_is_refused_unread() -> None:
    name = (ABOVE + BELOW) * 1_000_000
    assert canonical(name) is name
    assert check_name(name[:2000]) is not None


def test_text_is_searched_in_pieces_as_at_once() -> None:
    text = "x" * (FOLD_CHARACTERS - 2) + "NEEDLE" + "\ufdfa" * FOLD_CHARACTERS + "End"
    for needle in ("needle", "xneedle", "end", "l", fold_case("\ufdfa") + "end"):
        assert holds(text, needle)
    assert not holds(text, "needles")
