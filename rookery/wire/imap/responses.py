"""Response lines as octets (RFC 9051 section 7, RFC 3501 section 7). Every builder gives whole lines or whole words.

Strings are quoted when they can be and literals when they must; mailbox names are modified UTF-7, or UTF-8 for
clients that enabled it (`utf8`). What FETCH says of a message is in `fetch_responses.py`.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

from rookery.base.numberset import NumberSet
from rookery.formats import mailbox_utf7
from rookery.wire.imap.commands import StatusItem

_QUOTABLE = re.compile(rb"[\x01-\x09\x0b\x0c\x0e-\x7f]*")  # no NUL, CR, LF, nothing 8-bit
_ATOM = re.compile(rb'[^\x00-\x20\x7f-\xff(){%*"\\\]]+')
_QUOTED_LIMIT = 4096  # octets beyond which a literal is kinder to clients' line buffers


def quoted(text: bytes) -> bytes:
    """A quoted string of octets known to be quotable."""
    if b'"' in text or b"\\" in text:
        text = text.replace(b"\\", b"\\\\").replace(b'"', b'\\"')
    return b'"%b"' % text


def literal(data: bytes) -> bytes:
    """A literal; NUL octets, which it cannot hold, become 0x80 (one octet for one, so sizes stay true)."""
    if b"\x00" in data:
        data = data.replace(b"\x00", b"\x80")
    return b"{%d}\r\n%b" % (len(data), data)


def literal8(data: bytes) -> bytes:
    """RFC 3516: any octets."""
    return b"~{%d}\r\n%b" % (len(data), data)


def string(data: bytes, utf8: bool = False) -> bytes:
    """Quoted if possible, else a literal. With `utf8`, 8-bit text may be quoted when it is valid UTF-8 (RFC 6855)."""
    if len(data) <= _QUOTED_LIMIT:
        if _QUOTABLE.fullmatch(data):
            return quoted(data)
        if utf8 and not (b"\r" in data or b"\n" in data or b"\x00" in data):
            try:
                data.decode("utf-8")
            except UnicodeDecodeError:
                return literal(data)
            return quoted(data)
    return literal(data)


def nstring(data: bytes | None, utf8: bool = False) -> bytes:
    return b"NIL" if data is None else string(data, utf8)


@lru_cache(4096)
def mailbox(name: str, utf8: bool = False) -> bytes:
    """A mailbox name, always as a string: clients have trouble with atoms that look like something else."""
    if utf8:
        return string(name.encode("utf-8", "replace"), True)
    return string(mailbox_utf7.encode(name))


# --- status responses ----------------------------------------------------------------------------------------------


def _text(text: str) -> bytes:
    """Human text on one line; what is not US-ASCII is replaced, as `resp-text` wants."""
    return " ".join(text.split()).encode("ascii", "replace") or b"-"


def _status_line(head: bytes, status: bytes, text: str, code: bytes) -> bytes:
    if code:
        return b"%b %b [%b] %b\r\n" % (head, status, code, _text(text))
    return b"%b %b %b\r\n" % (head, status, _text(text))


def ok(tag: bytes, text: str, code: bytes = b"") -> bytes:
    """`tag OK [code] text`; `tag` b"*" makes it untagged. `code` without brackets."""
    return _status_line(tag, b"OK", text, code)


def no(tag: bytes, text: str, code: bytes = b"") -> bytes:
    return _status_line(tag, b"NO", text, code)


def bad(tag: bytes, text: str, code: bytes = b"") -> bytes:
    return _status_line(tag, b"BAD", text, code)


def bye(text: str, code: bytes = b"") -> bytes:
    return _status_line(b"*", b"BYE", text, code)


def preauth(text: str, code: bytes = b"") -> bytes:
    return _status_line(b"*", b"PREAUTH", text, code)


def append_uid(uidvalidity: int, uids: NumberSet) -> bytes:
    """Response code of RFC 4315."""
    return b"APPENDUID %d %b" % (uidvalidity, numbers(uids))


def copy_uid(uidvalidity: int, source: NumberSet, target: NumberSet) -> bytes:
    """Response code of RFC 4315. Both sets in order, of the same size."""
    return b"COPYUID %d %b %b" % (uidvalidity, numbers(source), numbers(target))


def permanent_flags(flags: Iterable[str], keywords_allowed: bool) -> bytes:
    words = list(flags)
    if keywords_allowed:
        words.append("\\*")
    return b"PERMANENTFLAGS " + flag_list(words)


# --- data responses ------------------------------------------------------------------------------------------------


def numbers(numbers: NumberSet) -> bytes:
    return str(numbers).encode("ascii")


def flag_list(flags: Iterable[str]) -> bytes:
    return b"(%b)" % " ".join(flags).encode("ascii", "replace")


def capability(names: Sequence[str]) -> bytes:
    """The words alone: after `* ` as a line of its own, or as a response code."""
    return b"CAPABILITY " + " ".join(names).encode("ascii")


def capability_line(names: Sequence[str]) -> bytes:
    return b"* %b\r\n" % capability(names)


def enabled(names: Sequence[str]) -> bytes:
    return b"* ENABLED%b\r\n" % b"".join(b" " + name.encode("ascii") for name in names)


def flags_line(flags: Iterable[str]) -> bytes:
    return b"* FLAGS %b\r\n" % flag_list(flags)


def exists(count: int) -> bytes:
    return b"* %d EXISTS\r\n" % count


def recent(count: int) -> bytes:
    return b"* %d RECENT\r\n" % count


def expunge(number: int) -> bytes:
    return b"* %d EXPUNGE\r\n" % number


def vanished(uids: NumberSet, earlier: bool = False) -> bytes:
    """RFC 7162 section 3.2.10."""
    return b"* VANISHED %b%b\r\n" % (b"(EARLIER) " if earlier else b"", numbers(uids))


def list_line(
    attributes: Iterable[str],
    separator: str | None,
    name: str,
    *,
    utf8: bool = False,
    child_info: Iterable[str] | None = None,
    old_name: str | None = None,
    lsub: bool = False,
) -> bytes:
    r"""LIST (or LSUB). `attributes` with backslash. `child_info`: selection options met by children (RFC 5258);
    `old_name`: OLDNAME of a rename (RFC 9051 section 6.3.9.7)."""
    extended = []
    if child_info is not None:
        extended.append(b'"CHILDINFO" (%b)' % b" ".join(b'"%b"' % word.encode("ascii") for word in child_info))
    if old_name is not None:
        extended.append(b'"OLDNAME" (%b)' % mailbox(old_name, utf8))
    return b"* %b %b %b %b%b\r\n" % (
        b"LSUB" if lsub else b"LIST",
        flag_list(attributes),
        quoted(separator.encode("ascii")) if separator else b"NIL",
        mailbox(name, utf8),
        b" (%b)" % b" ".join(extended) if extended else b"",
    )


def status(name: str, values: Mapping[StatusItem, int | str], *, utf8: bool = False) -> bytes:
    """A MAILBOXID, given as text, is put in parentheses (RFC 8474)."""
    words = [
        b"%b %d" % (item.value, value) if isinstance(value, int) else b"%b (%b)" % (item.value, value.encode("ascii"))
        for item, value in values.items()
    ]
    return b"* STATUS %b (%b)\r\n" % (mailbox(name, utf8), b" ".join(words))


def namespace(
    personal: Sequence[tuple[str, str]] | None,
    others: Sequence[tuple[str, str]] | None = None,
    shared: Sequence[tuple[str, str]] | None = None,
    *,
    utf8: bool = False,
) -> bytes:
    """Each: (prefix, separator) pairs, or None for NIL (RFC 2342)."""

    def one(spaces: Sequence[tuple[str, str]] | None) -> bytes:
        if not spaces:
            return b"NIL"
        return b"(%b)" % b"".join(b"(%b %b)" % (mailbox(p, utf8), quoted(s.encode("ascii"))) for p, s in spaces)

    return b"* NAMESPACE %b %b %b\r\n" % (one(personal), one(others), one(shared))


def id_line(fields: Mapping[str, str | None] | None) -> bytes:
    """RFC 2971; None: we say nothing of ourselves."""
    if not fields:
        return b"* ID NIL\r\n"
    pairs = (
        b"%b %b" % (string(name.encode("utf-8")), nstring(None if value is None else value.encode("utf-8")))
        for name, value in fields.items()
    )
    return b"* ID (%b)\r\n" % b" ".join(pairs)


def search(found: Iterable[int], modseq: int | None = None) -> bytes:
    """The untagged SEARCH of IMAP4rev1; `modseq` when the keys had MODSEQ (RFC 7162)."""
    words = "".join([f" {number}" for number in found]).encode("ascii")
    return b"* SEARCH%b%b\r\n" % (words, b"" if modseq is None else b" (MODSEQ %d)" % modseq)


def esearch(
    tag: bytes,
    *,
    uid: bool,
    least: int | None = None,
    greatest: int | None = None,
    all: NumberSet | None = None,
    count: int | None = None,
    modseq: int | None = None,
) -> bytes:
    """RFC 4731, RFC 9051 section 7.3.4. Only what is not None (for `all`: not empty) is sent."""
    words = [b'* ESEARCH (TAG "%b")' % tag.replace(b"\\", b"\\\\").replace(b'"', b'\\"')]
    if uid:
        words.append(b"UID")
    if least is not None:
        words.append(b"MIN %d" % least)
    if greatest is not None:
        words.append(b"MAX %d" % greatest)
    if all:
        words.append(b"ALL " + numbers(all))
    if count is not None:
        words.append(b"COUNT %d" % count)
    if modseq is not None:
        words.append(b"MODSEQ %d" % modseq)
    return b" ".join(words) + b"\r\n"


def quota(root: str, resources: Sequence[tuple[str, int, int]], *, utf8: bool = False) -> bytes:
    """(resource, usage, limit) each; STORAGE counts units of 1024 octets (RFC 9208 section 5)."""
    words = b" ".join(b"%b %d %d" % (name.encode("ascii"), used, limit) for name, used, limit in resources)
    return b"* QUOTA %b (%b)\r\n" % (string(root.encode("utf-8"), utf8), words)


def quota_root(name: str, roots: Sequence[str], *, utf8: bool = False) -> bytes:
    words = b"".join(b" " + string(root.encode("utf-8"), utf8) for root in roots)
    return b"* QUOTAROOT %b%b\r\n" % (mailbox(name, utf8), words)
