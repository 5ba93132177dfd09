"""MAIL and RCPT paths, and xtext."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rookery.wire.smtp.parameters import from_xtext, to_xtext
from rookery.wire.smtp.paths import read_path


@pytest.mark.parametrize(
    ("text", "mailbox", "parameters"),
    [
        ("<>", "", ""),
        (" <>", "", ""),
        ("<a@b.test>", "a@b.test", ""),
        ("<a@b.test> SIZE=1 X", "a@b.test", "SIZE=1 X"),
        ("<A.b+c@B.Test>", "A.b+c@B.Test", ""),
        ('<"a b"@c.test>', '"a b"@c.test', ""),
        ('<"a>b@c\\""@d.test>', '"a>b@c\\""@d.test', ""),
        ("<@x.test,@y.test:a@b.test>", "a@b.test", ""),
        ("<a@[192.0.2.1]>", "a@[192.0.2.1]", ""),
        ("<a@[IPv6:2001:db8::1]>", "a@[IPv6:2001:db8::1]", ""),
        ("<Postmaster>", "postmaster", ""),
        ("<ä@ö.test>", "ä@ö.test", ""),
        ("<a%b.test@c.test>", "a%b.test@c.test", ""),
        ("<" + "a" * 64 + "@b.test>", "a" * 64 + "@b.test", ""),
    ],
)
def test_good_paths(text: str, mailbox: str, parameters: str) -> None:
    path = read_path(text)
    assert path is not None
    assert (path.mailbox, path.parameters, path.ascii) == (mailbox, parameters, mailbox.isascii())


@pytest.mark.parametrize(
    "text",
    ["", "<", ">", "a@b.test", "<a@b.test", "a@b.test>", "<<a@b.test>>", "<a@b@c.test>", "<a b@c.test>", "<@b.test>",
     "<a@>", "<a>", "<.a@b.test>", "<a.@b.test>", "<a..b@c.test>", "<a@b..test>", "<a@-b.test>", "<a@b-.test>",
     "<a@b.test.>", "<a@b_c.test>", "<a@[300.1.1.1]>", "<a@[IPv6:zz]>", "<a@[IPv6:fe80::1%eth0]>", "<a@[]>",
     '<"a"b@c.test>', '<"a@b.test>', "<a@b.test>SIZE=1", "<a,b@c.test>", "<a\x80@c.test>", "<a\u2028@c.test>",
     "<" + "a" * 65 + "@b.test>", "<" + "ä" * 33 + "@b.test>", "<a@" + "b" * 64 + ".test>",
     "<a@" + "b." * 127 + "test>", "<a\x01@b.test>", '<"a\x01"@b.test>', "<@x.test:>", "\t<a@b.test>", "  <a@b.test>"],
)  # fmt: skip
def test_bad_paths(text: str) -> None:
    assert read_path(text) is None


@given(st.text(max_size=60))
def test_anything_is_a_path_or_not(text: str) -> None:
    path = read_path(text)
    assert path is None or len(path.mailbox) <= len(text)


@given(st.text(st.characters(min_codepoint=33, exclude_categories=("Cs", "Cc", "Cn", "Cf", "Zl", "Zp", "Zs", "Co"))))
def test_xtext_round_trip(text: str) -> None:
    encoded = to_xtext(text)
    assert encoded.isascii()
    assert from_xtext(encoded, utf8=True) == text


@pytest.mark.parametrize("text", ["a+", "a+4", "a+zz", "a+0a", "+00", "a+C3", "ä"])
def test_bad_xtext(text: str) -> None:
    assert from_xtext(text) == ""
