"""Reading our own pages: blocks, code spans, links, tables. As much Markdown as they use, and no more."""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"

_BLOCK = re.compile(r"^([ ]*)```(\w*)\n(.*?)^[ ]*```$", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_SPAN = re.compile(r"`([^`\n]+)`")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced code block. `line`: where its text begins, from 1. `text` has lost the fence's indentation."""

    language: str
    line: int
    text: str


def pages() -> list[Path]:
    return [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]


def blocks(text: str, language: str | None = None) -> list[Block]:
    found = []
    for match in _BLOCK.finditer(text):
        indent, name, inside = match.groups()
        lines = [line.removeprefix(indent) for line in inside.splitlines()]
        if language in (None, name):
            found.append(Block(name, text.count("\n", 0, match.start(3)) + 1, "\n".join(lines)))
    return found


def prose(text: str) -> str:
    """The page without its fenced blocks."""
    return _BLOCK.sub("", text)


def spans(text: str) -> list[str]:
    """What stands between single backticks, outside of blocks."""
    return _SPAN.findall(prose(text))


def links(text: str) -> list[str]:
    return _LINK.findall(prose(text))


def anchors(text: str) -> set[str]:
    """The names by which headings can be linked to, as forges make them."""
    titles = re.findall(r"^#+ (.+)$", prose(text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def tables(text: str) -> list[list[list[str]]]:
    """Each table as rows of cells; the first row is its head."""
    found: list[list[list[str]]] = []
    inside = False
    for line in prose(text).splitlines():
        if not line.startswith("|"):
            inside = False
            continue
        if not inside:
            found.append([])
            inside = True
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if not all(set(cell) <= set("-:") and cell for cell in cells):
            found[-1].append(cells)
    return found
