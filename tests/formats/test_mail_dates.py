"""Dates of header fields and of IMAP."""

from datetime import UTC, date, datetime, timedelta, timezone
from email.utils import parsedate_to_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rookery.formats.dates import (
    format_imap_date_time,
    format_mail_date,
    parse_imap_date,
    parse_imap_date_time,
    parse_mail_date,
)

EST = timezone(timedelta(hours=-5))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Fri, 21 Nov 1997 09:55:06 -0600", datetime(1997, 11, 21, 9, 55, 6, tzinfo=timezone(-timedelta(hours=6)))),
        ("21 Nov 97 09:55 GMT", datetime(1997, 11, 21, 9, 55, tzinfo=UTC)),
        ("Thu, 13 Feb 1969 23:32:00 EST", datetime(1969, 2, 13, 23, 32, tzinfo=EST)),
        ("Thu,\r\n 13 (c) Feb 1969 23:32 -0500 (x)", datetime(1969, 2, 13, 23, 32, tzinfo=EST)),
        ("Tue Nov  4 09:00:00 2003", datetime(2003, 11, 4, 9, tzinfo=UTC)),
        ("Mon, 31 Dec 2012 23:59:60 +0000", datetime(2012, 12, 31, 23, 59, 59, tzinfo=UTC)),
        ("1 January 2020 10:00:00", datetime(2020, 1, 1, 10, tzinfo=UTC)),
        ("31 Feb 2020 10:00:00", None),
        ("yesterday", None),
        ("", None),
        ("1 Foo 2020 10:00", None),
    ],
)
def test_mail_dates(text: str, expected: datetime | None) -> None:
    assert parse_mail_date(text) == expected


MOMENTS = st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1)).map(lambda d: d.replace(microsecond=0))
ZONES = st.integers(-14 * 60, 14 * 60).map(lambda m: timezone(timedelta(minutes=m)))


@given(MOMENTS, ZONES)
def test_mail_date_round_trip(moment: datetime, zone: timezone) -> None:
    moment = moment.replace(tzinfo=zone)
    text = format_mail_date(moment)
    assert parse_mail_date(text) == moment
    assert parsedate_to_datetime(text) == moment


@given(st.integers(0, 4_000_000_000))
def test_internal_date_round_trip(seconds: int) -> None:
    text = format_imap_date_time(seconds)
    assert parse_imap_date_time(text.strip(b'"')).timestamp() == seconds
    assert len(text) == 28


@pytest.mark.parametrize(
    "text",
    [b"", b"17-Jul-1996", b"17-Jul-1996 02:44:25", b"32-Jul-1996 02:44:25 +0000", b"1-Foo-1996 02:44:25 +0000",
     b"17-Jul-1996 25:44:25 +0000", b"17-Jul-1996 02:44:25 +0060", b"17-Jul-1996 02:44:25 +9900"],
)  # fmt: skip
def test_bad_date_times(text: bytes) -> None:
    with pytest.raises(ValueError):
        parse_imap_date_time(text)


def test_search_dates() -> None:
    assert parse_imap_date(b"1-Feb-1994") == date(1994, 2, 1)
    for bad in (b"1-Feb-94", b"30-Feb-1994", b"x", b"1-Fbe-1994"):
        with pytest.raises(ValueError):
            parse_imap_date(bad)


@given(st.text(max_size=80) | st.text("0123456789 :+-JanFebMon,()", max_size=60))
def test_nothing_breaks_it(text: str) -> None:
    found = parse_mail_date(text)
    assert found is None or found.tzinfo is not None
