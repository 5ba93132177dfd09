"""The one canonical form of addresses and domains."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rookery.base.errors import Cause, RookeryError
from rookery.distribution.directory.addresses import (
    Address,
    canonical_domain,
    clean_text,
    new_address,
    parse,
    parse_address,
    unicode_domain,
    without_detail,
)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("alice@example.test", "alice@example.test"),
        ("Alice@EXAMPLE.Test", "alice@example.test"),
        ("Ålice@example.test", "ålice@example.test"),
        ("A\u030alice@example.test", "ålice@example.test"),  # NFC
        ("bob@Bücher.test", "bob@xn--bcher-kva.test"),
        ("bob@bücher。test", "bob@xn--bcher-kva.test"),  # ideographic full stop (UTS 46)
        ('"alice"@example.test', "alice@example.test"),
        ('"a\\lice"@example.test', "alice@example.test"),
        ('"john doe"@example.test', '"john doe"@example.test'),
        ('"a@b"@example.test', '"a@b"@example.test'),
        ("alice+Lists@example.test", "alice+lists@example.test"),
        ("o'brien@example.test", "o'brien@example.test"),
        ("postmaster", "postmaster"),
        ("PostMaster", "postmaster"),
        ("a@localhost", "a@localhost"),
    ],
)
def test_canonical(text: str, canonical: str) -> None:
    assert str(parse_address(text)) == canonical


def test_the_case_given_is_kept_beside() -> None:
    parsed = parse("Alice+Lists@Elsewhere.TEST")
    assert parsed.address == Address("alice+lists", "elsewhere.test")
    assert parsed.given == "Alice+Lists@elsewhere.test"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "@",
        "alice",
        "alice@",
        "@example.test",
        "alice@example..test",
        "alice@.example.test",
        "alice@example.test.",
        "alice@-example.test",
        "alice@exam_ple.test",
        "alice@[192.0.2.1]",
        "alice@192.0.2.1",
        ".alice@example.test",
        "alice.@example.test",
        "al..ice@example.test",
        "al ice@example.test",
        "alice\r\n@example.test",
        "alice\0@example.test",
        "al\u200bice@example.test",  # zero width space
        "al\u202eice@example.test",  # right-to-left override
        "al\u00a0ice@example.test",
        "al\ud800ice@example.test",
        "alice@exa\u2028mple.test",
        '"alice@example.test',
        '"al"ice"@example.test',
        "<alice@example.test>",
        "a" * 65 + "@example.test",
        "å" * 33 + "@example.test",
        "alice@" + "a" * 64 + ".test",
        "alice@" + ".".join(["a" * 60] * 5),
        "alice@xn\u00fc--\u0000.test",
    ],
)
def test_no_addresses(text: str) -> None:
    with pytest.raises(RookeryError) as caught:
        parse_address(text)
    assert caught.value.cause is Cause.INVALID
    assert len(caught.value.what) < 300


@pytest.mark.parametrize(
    "text", ["a/b@d.test", "../etc@d.test", "-rf@d.test", "+x@d.test", '"a b"@d.test', "postmaster"]
)
def test_addresses_that_are_not_made_here(text: str) -> None:
    with pytest.raises(RookeryError):
        new_address(text)


def test_details() -> None:
    assert without_detail("alice+lists") == ("alice", "lists")
    assert without_detail("alice+a+b") == ("alice", "a+b")
    assert without_detail("alice") == ("alice", "")
    assert without_detail("+alice") == ("+alice", "")


def test_domains_for_people() -> None:
    assert unicode_domain("xn--bcher-kva.test") == "bücher.test"
    assert unicode_domain("xn--a.test") == "xn--a.test"


def test_names_for_people() -> None:
    assert clean_text("  A\u030alice ", 20, "a name") == "Ålice"
    for bad in ("a\nb", "a\0b", "x" * 21, "x" * 10_000):
        with pytest.raises(RookeryError):
            clean_text(bad, 20, "a name")


_LOCAL = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30)
_DOMAIN = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30)


@given(
    st.one_of(st.text(max_size=300), st.builds("{}@{}".format, _LOCAL, _DOMAIN), st.builds("{}@d.test".format, _LOCAL))
)
def test_canonical_is_canonical(text: str) -> None:
    try:
        address = parse_address(text)
    except RookeryError:
        return
    assert parse_address(str(address)) == address
    assert parse_address(parse(text).given) == address
    assert "\0" not in str(address)
    assert len(str(address).encode()) <= 300


@given(st.text(max_size=80))
def test_domains_are_ascii_and_stay(text: str) -> None:
    try:
        domain = canonical_domain(text)
    except RookeryError:
        return
    assert domain.isascii()
    assert domain == domain.lower()
    assert canonical_domain(domain) == domain
