r"""Flags as text and back: five system flags, \Recent, and the account's keywords."""

from collections.abc import Callable, Iterable

from rookery.storage.values import SYSTEM_FLAGS, Flag

RECENT = 1 << 62  # above all keywords; lives in responses only, never in the store

SYSTEM_NAMES: dict[str, int] = {
    "\\Answered": int(Flag.ANSWERED),
    "\\Flagged": int(Flag.FLAGGED),
    "\\Deleted": int(Flag.DELETED),
    "\\Seen": int(Flag.SEEN),
    "\\Draft": int(Flag.DRAFT),
}


class FlagTexts(dict[int, bytes]):
    """`texts[flags]` is what stands between the parentheses of a flag list; made once for each combination."""

    def __init__(self, keyword_names: Callable[[int], Iterable[str]]) -> None:
        super().__init__()
        self._keyword_names = keyword_names

    def __missing__(self, flags: int) -> bytes:
        words = [name for name, bit in SYSTEM_NAMES.items() if flags & bit]
        words.extend(self._keyword_names(flags & ~SYSTEM_FLAGS & ~RECENT))
        if flags & RECENT:
            words.append("\\Recent")
        text = self[flags] = " ".join(words).encode("ascii")
        return text


def parse_flags(names: Iterable[str]) -> tuple[int, tuple[str, ...]]:
    r"""System flags as bits, and keywords. \Recent and system flags that nobody knows are passed over."""
    bits, keywords = 0, []
    for name in names:
        if name.startswith("\\"):
            bits |= SYSTEM_NAMES.get(name.title(), 0)
        else:
            keywords.append(name)
    return bits, tuple(dict.fromkeys(keywords))
