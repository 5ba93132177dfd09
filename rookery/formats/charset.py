"""Charsets by their MIME names: which are known, and decoding that is bounded and never fails.

Python's registry also holds codecs that are no charsets (base64, zip bombs, quadratic punycode), so names go through
a list of their own. Labels follow RFC 2978 registrations and common mislabelling.
"""

import codecs
from functools import lru_cache

TEXT_LIMIT = 8 << 20  # octets decoded of one part, for searching

_ALIASES = {
    # What mail says, and what is meant (as in the WHATWG Encoding Standard)
    "us-ascii": "cp1252",
    "ascii": "cp1252",
    "ansi_x3.4-1968": "cp1252",
    "iso-8859-1": "cp1252",
    "latin1": "cp1252",
    "x-unknown": "cp1252",
    "unknown-8bit": "cp1252",
    "ks_c_5601-1987": "cp949",
    "ks_c_5601": "cp949",
    "euc-kr": "cp949",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "x-gbk": "gb18030",
    "hz-gb-2312": "hz",
    "shift_jis": "cp932",
    "x-sjis": "cp932",
    "iso-2022-jp": "iso2022_jp_2",
    "iso-8859-8-i": "iso8859-8",
    "iso-8859-8-e": "iso8859-8",
    "iso-8859-6-i": "iso8859-6",
    "iso-8859-9": "cp1254",
    "iso-8859-11": "cp874",
    "tis-620": "cp874",
    "windows-874": "cp874",
    "x-mac-roman": "mac_roman",
    "macintosh": "mac_roman",
    "unicode-1-1-utf-7": "utf-7",
    "utf8": "utf-8",
    "utf-16": "utf-16",
}
_NAMES = """
    utf-8 utf-7 utf-16 utf-16-be utf-16-le utf-32 utf-32-be utf-32-le cp1250 cp1251 cp1252 cp1253 cp1254 cp1255
    cp1256 cp1257 cp1258 cp437 cp737 cp775 cp850 cp852 cp855 cp857 cp858 cp860 cp861 cp862 cp863 cp864 cp865 cp866
    cp869 cp874 cp932 cp949 cp950 big5 big5hkscs gb18030 hz euc_jp euc_kr johab shift_jis shift_jis_2004 shift_jisx0213
    euc_jis_2004 euc_jisx0213 iso2022_jp iso2022_jp_1 iso2022_jp_2 iso2022_jp_2004 iso2022_jp_3 iso2022_jp_ext
    iso2022_kr iso8859-2 iso8859-3 iso8859-4 iso8859-5 iso8859-6 iso8859-7 iso8859-8 iso8859-9 iso8859-10 iso8859-11
    iso8859-13 iso8859-14 iso8859-15 iso8859-16 koi8-r koi8-t koi8-u kz1048 mac-cyrillic mac-greek mac-iceland
    mac-latin2 mac-roman mac-turkish ptcp154 tis-620
"""
_KNOWN = frozenset(_NAMES.split())


@lru_cache(1024)
def codec_of(charset: str) -> str | None:
    """The Python codec for a charset label in any case, or None when it is not known."""
    if len(charset) > 64 or not charset.isascii():
        return None
    label = charset.strip().strip("\"'").lower()
    if not label or "\x00" in label:
        return None
    try:
        name = codecs.lookup(_ALIASES.get(label, label)).name
    except LookupError:
        return None
    if name in ("ascii", "iso8859-1"):
        return "cp1252"
    return name if name in _KNOWN or name.replace("_", "-") in _KNOWN else None


def decode(data: bytes, charset: str | None, limit: int = TEXT_LIMIT) -> str:
    """Text of at most `limit` octets of `data`; what cannot be decoded becomes U+FFFD, an unknown charset Latin-1.

    Unlabelled text, and text that claims to be US-ASCII or Latin-1, is taken as UTF-8 when it is valid UTF-8.
    """
    if len(data) > limit:
        data = data[:limit]
    if data.isascii() and (charset is None or charset.lower() in _ASCII_SAFE):
        return data.decode("ascii")
    codec = codec_of(charset) if charset else "cp1252"
    if codec is None or codec == "cp1252":
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError:
            return data.decode(codec or "latin-1", "replace")
    return data.decode(codec, "replace")


_ASCII_SAFE = frozenset(("utf-8", "us-ascii", "ascii", "iso-8859-1", "iso-8859-15", "windows-1252", "iso-8859-2"))
