"""SASLprep (RFC 4013): the one form of a user name or password, as a profile of stringprep (RFC 3454).

Unassigned code points are let through ("query" strings): the tables end at Unicode 3.2, and people have newer letters.
"""

import stringprep
import unicodedata


def saslprep(text: str) -> str:
    """Raises ValueError when `text` holds a prohibited character or mixes directions (RFC 3454 section 6)."""
    if text.isascii():
        if not text.isprintable():
            raise ValueError("control character")
        return text
    mapped = "".join(
        " " if stringprep.in_table_c12(c) else c
        for c in text
        if not stringprep.in_table_b1(c)  # soft hyphen, joiners, selectors: mapped to nothing
    )
    normal = unicodedata.normalize("NFKC", mapped)
    for c in normal:
        if _prohibited(c):
            raise ValueError("prohibited character")
    _check_directions(normal)
    return normal


def _prohibited(c: str) -> bool:
    """RFC 4013 section 2.3."""
    return (
        stringprep.in_table_c12(c)
        or stringprep.in_table_c21_c22(c)
        or stringprep.in_table_c3(c)
        or stringprep.in_table_c4(c)
        or stringprep.in_table_c5(c)
        or stringprep.in_table_c6(c)
        or stringprep.in_table_c7(c)
        or stringprep.in_table_c8(c)
        or stringprep.in_table_c9(c)
    )


def _check_directions(text: str) -> None:
    """RFC 3454 section 6: right-to-left text has no left-to-right letters, and begins and ends right-to-left."""
    if not any(stringprep.in_table_d1(c) for c in text):
        return
    if any(stringprep.in_table_d2(c) for c in text):
        raise ValueError("mixed directions")
    if not (stringprep.in_table_d1(text[0]) and stringprep.in_table_d1(text[-1])):
        raise ValueError("right-to-left text must begin and end right-to-left")
