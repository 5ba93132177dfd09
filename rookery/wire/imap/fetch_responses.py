"""What FETCH answers (RFC 9051 section 7.5.2): flags, dates, ENVELOPE, BODY and BODYSTRUCTURE, sections."""

from collections.abc import Iterable, Sequence

from rookery.formats.address import Address
from rookery.formats.dates import format_imap_date_time
from rookery.formats.envelope import Envelope
from rookery.formats.envelope import envelope as read_envelope
from rookery.formats.mime import TEXT_PLAIN, Parameters, Part
from rookery.wire.imap.responses import flag_list, literal, literal8, nstring, string

_NO_PARTS = b'("text" "plain" NIL NIL NIL "7bit" 0 0)'  # of a multipart without parts, which the grammar forbids


def fetch(number: int, items: Sequence[bytes]) -> bytes:
    """One line of items as made below, for message sequence number `number`."""
    return b"* %d FETCH (%b)\r\n" % (number, b" ".join(items))


def uid_item(uid: int) -> bytes:
    return b"UID %d" % uid


def flags_item(flags: Iterable[str]) -> bytes:
    return b"FLAGS " + flag_list(flags)


def modseq_item(modseq: int) -> bytes:
    return b"MODSEQ (%d)" % modseq


def size_item(octets: int) -> bytes:
    return b"RFC822.SIZE %d" % octets


def date_item(seconds: int) -> bytes:
    """INTERNALDATE of seconds since 1970 UTC."""
    return b"INTERNALDATE " + format_imap_date_time(seconds)


def saved_item(seconds: int | None) -> bytes:
    """SAVEDATE (RFC 8514)."""
    return b"SAVEDATE " + (b"NIL" if seconds is None else format_imap_date_time(seconds))


def section_item(label: bytes, data: bytes | None) -> bytes:
    """BODY[...], RFC822...: always a literal, so that nothing is looked at octet by octet; None is NIL."""
    return label + (b" NIL" if data is None else b" " + literal(data))


def binary_item(label: bytes, data: bytes | None) -> bytes:
    """BINARY[...] (RFC 3516): a literal8 where there are NUL octets."""
    if data is None:
        return label + b" NIL"
    return b"%b %b" % (label, literal8(data) if b"\x00" in data else literal(data))


def binary_size_item(label: bytes, octets: int) -> bytes:
    return b"%b %d" % (label, octets)


def flag_lines(numbers: Sequence[int], uids: Sequence[int] | None, flags: Sequence[bytes]) -> bytes:
    """FETCH lines of nothing but FLAGS (and UID), for many messages at once.

    `flags` holds each message's flag list as made by `flag_list`, so that equal flags are made once by the caller.
    """
    if uids is None:
        return b"".join([b"* %d FETCH (FLAGS %b)\r\n" % pair for pair in zip(numbers, flags, strict=True)])
    triples = zip(numbers, uids, flags, strict=True)
    return b"".join([b"* %d FETCH (UID %d FLAGS %b)\r\n" % triple for triple in triples])


# --- ENVELOPE ------------------------------------------------------------------------------------------------------


def _address(address: Address, utf8: bool) -> bytes:
    return b"(%b %b %b %b)" % (
        nstring(address.name, utf8),
        nstring(address.route, utf8),
        nstring(address.mailbox, utf8),
        nstring(address.host, utf8),
    )


def _addresses(addresses: Sequence[Address], utf8: bool) -> bytes:
    if not addresses:
        return b"NIL"
    return b"(%b)" % b"".join([_address(address, utf8) for address in addresses])


def envelope(envelope: Envelope, utf8: bool = False) -> bytes:
    """The parenthesised value."""
    sent_from = _addresses(envelope.from_, utf8)
    return b"(%b %b %b %b %b %b %b %b %b %b)" % (
        nstring(envelope.date, utf8),
        nstring(envelope.subject, utf8),
        sent_from,
        sent_from if envelope.sender is envelope.from_ else _addresses(envelope.sender, utf8),
        sent_from if envelope.reply_to is envelope.from_ else _addresses(envelope.reply_to, utf8),
        _addresses(envelope.to, utf8),
        _addresses(envelope.cc, utf8),
        _addresses(envelope.bcc, utf8),
        nstring(envelope.in_reply_to, utf8),
        nstring(envelope.message_id, utf8),
    )


# --- BODY and BODYSTRUCTURE ----------------------------------------------------------------------------------------


def body_structure(data: bytes, part: Part, *, extended: bool, utf8: bool = False) -> bytes:
    """BODYSTRUCTURE (`extended`) or BODY of a part of the message `data`. Recursion is bounded by the parser's."""
    if part.is_multipart:
        children = [body_structure(data, child, extended=extended, utf8=utf8) for child in part.children]
        words = [b"".join(children) or _NO_PARTS, string(part.content_type.subtype)]
        if extended:
            words.append(_parameters(part.content_type.parameters, utf8))
            words += _common_extension(part, utf8)
        return b"(%b)" % b" ".join(words)
    words = _single(data, part, extended, utf8)
    if extended:
        words.append(nstring(part.md5, utf8))
        words += _common_extension(part, utf8)
    return b"(%b)" % b" ".join(words)


def _single(data: bytes, part: Part, extended: bool, utf8: bool) -> list[bytes]:
    kind = part.content_type
    words = [
        string(kind.type),
        string(kind.subtype),
        _parameters(kind.parameters, utf8) if kind is not TEXT_PLAIN else b'("charset" "us-ascii")',
        nstring(part.id, utf8),
        nstring(part.description, utf8),
        string(part.encoding, utf8),
        b"%d" % part.size,
    ]
    if part.is_message and part.children:
        inner = part.children[0]
        words.append(envelope(read_envelope(data, inner.header_start, inner.body_start), utf8))
        words.append(body_structure(data, inner, extended=extended, utf8=utf8))
        words.append(b"%d" % part.lines)
    elif kind.type == b"text":
        words.append(b"%d" % part.lines)
    return words


def _parameters(parameters: Parameters, utf8: bool) -> bytes:
    if not parameters:
        return b"NIL"
    return b"(%b)" % b" ".join([b"%b %b" % (string(name), string(value, utf8)) for name, value in parameters])


def _common_extension(part: Part, utf8: bool) -> list[bytes]:
    """Disposition, language and location."""
    disposition = b"NIL"
    if part.disposition is not None:
        kind, parameters = string(part.disposition.kind, utf8), _parameters(part.disposition.parameters, utf8)
        disposition = b"(%b %b)" % (kind, parameters)
    languages = part.language
    language = b"NIL"
    if len(languages) == 1:
        language = string(languages[0], utf8)
    elif languages:
        language = b"(%b)" % b" ".join([string(word, utf8) for word in languages])
    return [disposition, language, nstring(part.location, utf8)]
