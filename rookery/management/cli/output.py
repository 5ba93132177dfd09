"""What commands print: JSON when asked, else tables and pairs as people read them. rich is loaded only for tables."""

import datetime
import sys
from collections.abc import Iterable, Sequence

import msgspec
import typer

from rookery.base.config.kinds import show_size


def write(text: str = "") -> None:
    sys.stdout.write(text + "\n")


def complain(text: str) -> None:
    for line in text.split("\n"):
        sys.stderr.write(f"rookery: {line}\n")


def need_any(options: str, *given: object) -> None:
    """A change that changes nothing is a slip of the hand. Raises typer.BadParameter naming `options`."""
    if all(value is None or value == [] for value in given):
        raise typer.BadParameter(f"nothing to change: give {options}")


def write_json(value: object) -> None:
    """Indented; a listing is always an array."""
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n")


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], empty: str) -> None:
    """Columns as wide as they need to be; no frames, so that the output can be cut and grepped."""
    cells = [[printable(cell) for cell in row] for row in rows]
    if not cells:
        write(empty)
        return
    widths = [max(len(row[i]) for row in [list(columns), *cells]) for i in range(len(columns))]
    for row in [[name.upper() for name in columns], *cells]:
        write("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def pairs(facts: Iterable[tuple[str, str]]) -> None:
    facts = list(facts)
    width = max(len(name) for name, _ in facts)
    for name, value in facts:
        write(f"{name.ljust(width)}  {printable(value)}")


def printable(text: str) -> str:
    """Escape what would move the cursor or change colours: names come from mail."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def amount(octets: int) -> str:
    """Octets as people read them: 1.5 MB."""
    for unit, power in (("TB", 4), ("GB", 3), ("MB", 2), ("kB", 1)):
        if octets >= 1024**power:
            return f"{octets / 1024**power:.1f} {unit}"
    return f"{octets} B"


def limit(octets: int) -> str:
    return show_size(octets) if octets else "none"


def moment(seconds: float | None) -> str:
    """Local time with offset; "never" for None and 0."""
    if not seconds:
        return "never"
    return datetime.datetime.fromtimestamp(seconds).astimezone().isoformat(" ", "seconds")


def age(seconds: float) -> str:
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= length:
            return f"{int(seconds // length)}{unit}"
    return f"{int(max(0, seconds))}s"
