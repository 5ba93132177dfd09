"""From TOML to a Config, or to every problem at once: file, line, key, what was found, what would be right."""

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

from rookery.base.config.kinds import quote
from rookery.base.config.tree import SETTINGS, Config, make_config, section_types

FILE_LIMIT = 1024 * 1024  # octets
FOUND_LIMIT = 80  # characters of a wrong value that a message repeats


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong. `line` 0: the file as a whole; `key` may be empty. `warning`: it works today."""

    file: str
    line: int
    key: str
    found: str
    expected: str
    warning: bool = False

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        words = ["warning"] if self.warning else []
        if self.key:
            words.append(self.key)
        words.append(f"found {self.found}, {self.expected}" if self.found else self.expected)
        return ": ".join([place, *words])


def load(path: Path) -> tuple[Config, list[Problem]]:
    """Read `path`; with any problem the Config holds defaults in its place and is not to be served from."""
    try:
        data = path.read_bytes()
    except OSError as error:
        return Config(), [Problem(str(path), 0, "", error.strerror or "nothing", "expected a readable file")]
    if len(data) > FILE_LIMIT:
        return Config(), [Problem(str(path), 0, "", f"{len(data)} octets", f"expected at most {FILE_LIMIT}")]
    return parse(data, str(path))


def parse(data: bytes, file: str = "rookery.toml") -> tuple[Config, list[Problem]]:
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        return Config(), [Problem(file, line, "", f"octet 0x{data[error.start]:02x}", "expected UTF-8")]
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"\(at line (\d+), column (\d+)\)", str(error))
        line = int(found[1]) if found else text.count("\n") + 1
        what = str(error).split(" (at ")[0]
        shown = text.split("\n")[line - 1].strip()[:FOUND_LIMIT] if found else "the end of the file"
        return Config(), [Problem(file, line, "", shown, f"not TOML: {what}")]
    return _Reading(file, line_numbers(text)).config(tree)


class _Reading:
    def __init__(self, file: str, lines: dict[str, int]) -> None:
        self._file = file
        self._lines = lines
        self._problems: list[Problem] = []

    def config(self, tree: dict[str, object]) -> tuple[Config, list[Problem]]:
        sections = section_types()
        for name in tree.keys() - sections.keys():
            what = "section" if isinstance(tree[name], dict) else "setting"
            self._unknown(what, name, name, [*sections, *(row.key for row in SETTINGS)])
        made = {name: self._section(name, kind, tree.get(name, {})) for name, kind in sections.items()}
        return make_config(made), sorted(self._problems, key=lambda problem: problem.line)

    def _section(self, section: str, kind: type, found: object) -> object:
        if not isinstance(found, dict):
            self._wrong(section, found, f"a table, [{section}]")
            return kind()
        rows = {row.name: row for row in SETTINGS if row.section == section}
        for name in found.keys() - rows.keys():
            self._unknown("setting", f"{section}.{name}", str(name), list(rows))
        values = {}
        for name, row in rows.items():
            if name not in found:
                continue
            try:
                values[name] = row.kind.read(found[name])
            except (ValueError, TypeError):
                self._wrong(row.key, found[name], row.kind.expected)
        return kind(**values)

    def _wrong(self, key: str, found: object, expected: str) -> None:
        self._problems.append(Problem(self._file, self._line(key), key, _shown(found), f"expected {expected}"))

    def _unknown(self, what: str, key: str, name: str, known: list[str]) -> None:
        from difflib import get_close_matches  # slow to import, and only needed here

        # a setting written outside its section is told where it belongs
        near = get_close_matches(name, known, 1, 0.6) or [row.key for row in SETTINGS if row.name == name][:1]
        expected = f"did you mean {near[0]}?" if near else "see docs/settings.md for those there are"
        self._problems.append(Problem(self._file, self._line(key), key, f"an unknown {what}", expected))

    def _line(self, key: str) -> int:
        return self._lines.get(key) or self._lines.get(key.rpartition(".")[0], 0)


def _shown(value: object) -> str:
    if isinstance(value, str):
        text = quote(value)
    elif isinstance(value, bool):
        text = "true" if value else "false"
    elif isinstance(value, list):
        text = "[" + ", ".join(_shown(member) for member in value) + "]"
    elif isinstance(value, dict):
        text = "{ " + ", ".join(f"{name} = {_shown(member)}" for name, member in value.items()) + " }"
    else:
        text = str(value)
    return text if len(text) <= FOUND_LIMIT else text[:FOUND_LIMIT] + "…"


_HEADER = re.compile(r"\s*\[\s*([A-Za-z0-9_.\"' -]+?)\s*\]\s*(?:#.*)?")
_KEY = re.compile(r"\s*([A-Za-z0-9_\"'-]+(?:\s*\.\s*[A-Za-z0-9_\"'-]+)*)\s*=")


def line_numbers(text: str) -> dict[str, int]:
    """The line of each table and key, which tomllib does not tell; good enough for messages."""
    found: dict[str, int] = {}
    section = ""
    for number, line in enumerate(text.split("\n"), 1):
        if (header := _HEADER.fullmatch(line)) is not None:
            section = _plain(header[1])
            found.setdefault(section, number)
        elif (key := _KEY.match(line)) is not None:
            name = _plain(key[1])
            found.setdefault(f"{section}.{name}" if section else name, number)
            if not section:
                found.setdefault(name.partition(".")[0], number)
    return found


def _plain(key: str) -> str:
    return ".".join(part.strip().strip("\"'") for part in key.split("."))
