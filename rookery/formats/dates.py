"""Dates of mail: RFC 5322 section 3.3 (with the obsolete forms people send) and IMAP date-time (RFC 9051 section 9).

Parsing gives aware datetimes, keeping the zone as written: SEARCH SENTON compares the written day.
"""

import re
from datetime import UTC, date, datetime, timedelta, timezone
from functools import lru_cache

FIRST_SECOND, LAST_SECOND = -62_135_596_800, 253_402_300_799  # of the years 1 to 9999, since 1970 UTC
TEXT_LIMIT = 200  # octets of a Date field looked at

_MONTH_NAMES = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTHS = {name.lower(): number for number, name in enumerate(_MONTH_NAMES, 1)}
_DAY_NAMES = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_NAMED_ZONES = {  # RFC 5322 4.3; other letters say nothing and count as -0000
    "ut": 0, "gmt": 0, "utc": 0, "z": 0, "est": -300, "edt": -240, "cst": -360, "cdt": -300,
    "mst": -420, "mdt": -360, "pst": -480, "pdt": -420,
}  # fmt: skip

_IMAP_DATE_TIME = re.compile(
    rb"([ 0-3]?[0-9])-([A-Za-z]{3})-([0-9]{4}) ([0-9]{2}):([0-9]{2}):([0-9]{2}) ([+-])([0-9]{2})([0-9]{2})"
)
_IMAP_DATE = re.compile(rb"([0-9]{1,2})-([A-Za-z]{3})-([0-9]{4})")
_MAIL_DATE = re.compile(
    r"(?:[A-Za-z]{3,9}\s*,?\s*)?"  # day of week: believed by nobody
    r"([0-9]{1,2})[\s-]+([A-Za-z]{3})[A-Za-z]*[\s,.-]+([0-9]{2,4})"
    r"(?:\s+([0-9]{1,2})\s*:\s*([0-9]{1,2})(?:\s*:\s*([0-9]{1,2})(?:\.[0-9]*)?)?)?"
    r"\s*([+-][0-9]{4}|[A-Za-z]{1,5})?"
)
_ASCTIME = re.compile(
    r"[A-Za-z]{3}\s+([A-Za-z]{3})\s+([0-9]{1,2})\s+([0-9]{1,2}):([0-9]{2}):([0-9]{2})\s+(?:[A-Z]{1,5}\s+)?([0-9]{4})"
)
_COMMENT = re.compile(r"\([^()]{0,200}\)")


def parse_mail_date(text: str) -> datetime | None:
    """The Date field's value, or None when it makes no sense. A missing zone counts as UTC."""
    text = " ".join(_COMMENT.sub(" ", text[:TEXT_LIMIT]).split())
    match = _MAIL_DATE.match(text)
    if match:
        day, month, year, hour, minute, second, zone = match.groups()
    else:
        match = _ASCTIME.match(text)
        if not match:
            return None
        month, day, hour, minute, second, year = match.groups()
        zone = None
    number = _MONTHS.get(month.lower())
    if number is None:
        return None
    full = int(year)
    if len(year) == 2:  # RFC 5322 4.3
        full += 2000 if full < 50 else 1900
    elif len(year) == 3:
        full += 1900
    try:
        return datetime(
            full, number, int(day), int(hour or 0), int(minute or 0), min(int(second or 0), 59), tzinfo=_zone(zone)
        )
    except ValueError:
        return None


def _zone(text: str | None) -> timezone:
    if not text:
        return UTC
    if text[0] in "+-":
        minutes = int(text[1:3]) * 60 + int(text[3:5])
        minutes = -minutes if text[0] == "-" else minutes
    else:
        minutes = _NAMED_ZONES.get(text.lower(), 0)
    return _offset(minutes) if abs(minutes) < 24 * 60 else UTC


@lru_cache(256)
def _offset(minutes: int) -> timezone:
    return timezone(timedelta(minutes=minutes))


def format_mail_date(moment: datetime) -> str:
    """RFC 5322 form of an aware datetime: "Tue, 01 Jul 2025 10:00:00 +0200"."""
    return (
        f"{_DAY_NAMES[moment.weekday()]}, {moment.day:02d} {_MONTH_NAMES[moment.month - 1]} {moment.year:04d} "
        f"{moment.hour:02d}:{moment.minute:02d}:{moment.second:02d} {_written_offset(moment)}"
    )


def _written_offset(moment: datetime) -> str:
    delta = moment.utcoffset() or timedelta()
    minutes = int(delta.total_seconds()) // 60
    sign, minutes = ("-", -minutes) if minutes < 0 else ("+", minutes)
    return f"{sign}{minutes // 60:02d}{minutes % 60:02d}"


def parse_imap_date_time(data: bytes) -> datetime:
    """`date-time` without its quotes. Raises ValueError."""
    match = _IMAP_DATE_TIME.fullmatch(data)
    number = _MONTHS.get(match[2].decode("ascii").lower()) if match else None
    if match is None or number is None:
        raise ValueError("not a date-time")
    minutes = int(match[8]) * 60 + int(match[9])
    if int(match[9]) > 59 or minutes >= 24 * 60:
        raise ValueError("not a zone")
    return datetime(
        int(match[3]), number, int(match[1]), int(match[4]), int(match[5]), min(int(match[6]), 59),
        tzinfo=_offset(-minutes if match[7] == b"-" else minutes),
    )  # fmt: skip


def format_imap_date_time(seconds: int) -> bytes:
    """INTERNALDATE of seconds since 1970 UTC, with its quotes: `"17-Jul-1996 02:44:25 +0000"`.

    A zone may carry a moment out of the years that can be written: it is told as the first or last that can.
    """
    seconds = min(max(seconds, FIRST_SECOND), LAST_SECOND)
    days, rest = divmod(seconds, 86400)
    return b'%b%02d:%02d:%02d +0000"' % (_day_text(days), rest // 3600, rest // 60 % 60, rest % 60)


@lru_cache(4096)
def _day_text(days: int) -> bytes:
    day = date(1970, 1, 1) + timedelta(days=days)
    return f'"{day.day:2d}-{_MONTH_NAMES[day.month - 1]}-{day.year:04d} '.encode("ascii")


def parse_imap_date(data: bytes) -> date:
    """`date-text` of SEARCH without quotes: "1-Feb-1994". Raises ValueError."""
    match = _IMAP_DATE.fullmatch(data)
    number = _MONTHS.get(match[2].decode("ascii").lower()) if match else None
    if match is None or number is None:
        raise ValueError("not a date")
    return date(int(match[3]), number, int(match[1]))
