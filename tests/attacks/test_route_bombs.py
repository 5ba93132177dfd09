"""Source routes without number in a header field of a mail: what it costs is in proportion to their length."""

import pytest

from rookery.formats.address import TEXT_LIMIT, parse_addresses
from rookery.formats.envelope import envelope


@pytest.mark.parametrize("unit", [b"<@a,", b"@a,", b"<@a:", b"<@a,@b:", b"<@", b"@a:<@b,"])
def test_a_field_of_routes(unit: bytes) -> None:
    value = b"<" + unit * (TEXT_LIMIT // len(unit))
    parse_addresses(value)
    envelope(b"From: " + value + b"\r\n\r\n")


def test_a_route_is_still_read() -> None:
    (found,) = parse_addresses(b"A <@one.test,@two.test:a@d.test>")
    assert (found.route, found.mailbox, found.host) == (b"@one.test,@two.test", b"a", b"d.test")
