"""Targets of rookery.formats: never an exception, offsets in order, and the round trips."""

import re

from rookery.formats import mailbox_utf7
from rookery.formats.address import parse_addresses
from rookery.formats.charset import codec_of
from rookery.formats.charset import decode as decode_charset
from rookery.formats.dates import format_imap_date_time, format_mail_date, parse_imap_date_time, parse_mail_date
from rookery.formats.dsn import decode_xtext, parse_status
from rookery.formats.encoded_words import decode_parameter, decode_words
from rookery.formats.envelope import envelope
from rookery.formats.headers import body_start, fields, select_fields
from rookery.formats.mime import Limits, Part, parse
from rookery.formats.text import fold_case, message_contains
from rookery.wire.imap.fetch_responses import body_structure
from rookery.wire.imap.fetch_responses import envelope as envelope_response

from .target import Target, require


def _offsets(part: Part, low: int, high: int) -> int:
    require(low <= part.header_start <= part.body_start <= part.end <= high, "offsets of a part out of order")
    count, last = 1, part.body_start
    for child in part.children:
        count += _offsets(child, last, part.end)
        last = child.end
    return count


_TOKEN = re.compile(rb'"(?:[^"\\\r\n\x00]|\\[^\r\n\x00])*+"|\{([0-9]+)\}\r\n|([()])|[^"{()\r\n\x00]++')


def _parenthesised(value: bytes) -> None:
    """Balanced outside strings, and legal strings: what a client's lexer would want."""
    depth = pos = 0
    while pos < len(value):
        token = _TOKEN.match(value, pos)
        if token is None:
            raise AssertionError("a response that is not legal")
        pos = token.end()
        if token[1]:
            pos += int(token[1])
            require(pos < len(value), "a literal beyond the end")
        elif token[2]:
            depth += 1 if token[2] == b"(" else -1
            require(depth >= 0, "parentheses out of balance")
    require(depth == 0, "parentheses out of balance")


def mime(data: bytes) -> None:
    for limits in (Limits(), Limits(depth=2, parts=5)):
        root = parse(data, limits)
        require(_offsets(root, 0, len(data)) <= limits.parts, "more parts than allowed")
        for utf8 in (False, True):
            _parenthesised(body_structure(data, root, extended=True, utf8=utf8))
            _parenthesised(body_structure(data, root, extended=False, utf8=utf8))
    message_contains(data, parse(data), "zz")


def header(data: bytes) -> None:
    end = body_start(data)
    require(0 <= end <= len(data), "a body outside the message")
    names = {field.name.lower() for field in fields(data, 0, end)}
    kept = select_fields(data, names)
    require([f.name for f in fields(kept)] == [f.name for f in fields(data)], "a selection loses fields")
    require(not list(fields(select_fields(data, names, exclude=True))), "an exclusion keeps fields")
    _parenthesised(envelope_response(envelope(data)))
    _parenthesised(envelope_response(envelope(data), True))


def addresses(data: bytes) -> None:
    open_groups = 0
    for address in parse_addresses(data):
        if address.is_group_mark:
            open_groups += 1 if address.mailbox is not None else -1
            require(open_groups in (0, 1), "groups out of balance")
    require(open_groups == 0, "a group without end")


def dates(data: bytes) -> None:
    found = parse_mail_date(data.decode("latin-1"))
    if found is not None:
        require(parse_mail_date(format_mail_date(found)) == found, "a date that does not come back")
    try:
        moment = parse_imap_date_time(data)
    except ValueError:
        return
    try:
        seconds = int(moment.timestamp())
    except OverflowError:
        return
    text = format_imap_date_time(seconds).strip(b'"') if 0 <= seconds < 250_000_000_000 else data
    require(parse_imap_date_time(text) == moment, "an internal date that does not come back")


def words(data: bytes) -> None:
    fold_case(decode_words(data))
    first, _, second = data.partition(b"\n")
    decode_parameter(((b"a*0*", first), (b"a*1", second)), b"a")


def charset(data: bytes) -> None:
    label, _, text = data.partition(b"\n")
    name = label.decode("latin-1")
    decode_charset(text, name)
    codec_of(name)


def utf7(data: bytes) -> None:
    try:
        name = mailbox_utf7.decode(data)
    except ValueError:
        name = data.decode("utf-8", "replace")
    else:
        require(mailbox_utf7.encode(name) == data, "two spellings of one name")
    require(mailbox_utf7.decode(mailbox_utf7.encode(name)) == name, "a name that does not come back")


def dsn(data: bytes) -> None:
    parse_status(data)
    decode_xtext(data.decode("latin-1"))


_MESSAGE = (
    b"From: =?utf-8?q?A=C3=A4?= <a@b.c>, g: x@y, z;\r\nTo: \"q, r\" <@r1,@r2:u@h>\r\n"
    b"Date: Fri, 21 Nov 1997 09:55:06 -0600\r\n"
    b"Content-Type: multipart/mixed; boundary=\"x\"; a*0*=utf-8''%41\r\n\r\n"
    b"--x\r\nContent-Type: text/plain\r\n\r\none\r\n"
    b"--x\r\nContent-Type: message/rfc822\r\n\r\nSubject: in\r\n\r\nbody\r\n"
    b"--x\r\nContent-Transfer-Encoding: base64\r\nContent-Disposition: attachment; filename=a\r\n\r\nAAEC\r\n--x--\r\n"
)  # fmt: skip
_MIME_WORDS = (
    b"Content-Type: ", b"multipart/mixed; boundary=x", b"message/rfc822", b"multipart/digest", b"\r\n--x\r\n", b"--x--",
    b"\r\n\r\n", b"Content-Transfer-Encoding: ", b"quoted-printable", b"charset=",
)  # fmt: skip

TARGETS = (
    Target("mime", mime, (_MESSAGE,), _MIME_WORDS),
    Target("header", header, (_MESSAGE,), (b"From: ", b"Reply-To: ", b"\r\n ", b"\r\n\r\n")),
    Target("addresses", addresses, (b'"q, r" <@r1,@r2:u@h>, g: x@y, z@w;, a.b (c) @ d',), (b"<", b">", b":;", b"()")),
    Target("dates", dates, (b"Fri, 21 Nov 1997 09:55:06 -0600 (x)", b"17-Jul-1996 02:44:25 -0700"), (b"GMT", b"Feb")),
    Target("words", words, (b"=?utf-8?q?a=C3=A4?= =?iso-2022-jp?b?GyRC?=", b"utf-8'de'%41\nb"), (b"=?", b"?q?", b"?=")),
    Target("charset", charset, (b"utf-7\n+AGE-", b"hz\n~{~}", b"iso-2022-jp\n\x1b$B", b"utf-16\nab"), (b"gb2312\n",)),
    Target("utf7", utf7, (b"~peter/mail/&U,BTFw-/&ZeVnLIqe-", b"a&-b"), (b"&-", b"&AAA-")),
    Target("dsn", dsn, (b"Reporting-MTA: dns; a\n\nFinal-Recipient: rfc822; b\nAction: failed\nStatus: 5.1.1\n",)),
)
