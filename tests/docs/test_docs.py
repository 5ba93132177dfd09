"""Our pages: links lead somewhere; commands, settings and events in them exist. What is run is in test_pages_run."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer.main

from rookery.base.config import SETTINGS
from rookery.base.config.load import parse
from rookery.management.cli.main import command_tree
from tests.docs.markdown import DOCS, ROOT, anchors, blocks, links, pages, spans

PAGES = pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
GENERATED = ("settings.md", "commands.md")  # a test of their own compares them with the code
WRITTEN = pytest.mark.parametrize("page", [p for p in pages() if p.name not in GENERATED], ids=lambda page: page.name)
TREE: Any = typer.main.get_command(command_tree())
COMMAND = re.compile(r"(?:^|[|;&] *)rookery ([^|;&>`]*)")
FOLDERS = ("wire/smtp", "wire/imap", "access/imap", "distribution/directory", "distribution/auth", "distribution/spool")
EVENTS = ("smtp", "submission", "lmtp", "queue", "delivery", "auth", "net", "node", "upkeep")


@PAGES
def test_links_lead_somewhere(page: Path) -> None:
    for link in links(page.read_text()):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), f"{page.name} links to {link}"
        assert not anchor or anchor in anchors(target.read_text()), f"{page.name}: {link} has no such heading"


def test_the_tour_names_files_that_are_there() -> None:
    text = (DOCS / "tour.md").read_text()
    listed = re.findall(r"^  (\w+(?:\.py|/)) ", text, re.MULTILINE)
    named = [span for span in spans(text) if re.fullmatch(r"(?:[a-z_]+/)*[a-z_]+(?:\.py)", span) or span in FOLDERS]
    assert len(listed) > 8
    assert len(named) > 8
    for name in [*listed, *named]:
        assert (ROOT / "rookery" / name).exists(), name


# --- commands --------------------------------------------------------------------------------------------------------


def _shell_lines(text: str) -> list[str]:
    return [
        line.strip() for language in ("sh", "") for block in blocks(text, language) for line in block.text.split("\n")
    ]


def _options(command: Any) -> dict[str, Any]:
    return {name: parameter for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}


def _find(arguments: list[str]) -> tuple[Any, list[str]]:
    """The command that is meant, and what is left of the line for it; fails on a command that does not exist."""
    command, left = TREE, list(arguments)
    while left and left[0] in _options(command):
        option = _options(command)[left.pop(0)]
        if not option.is_flag:
            left.pop(0)
    while hasattr(command, "commands"):
        assert left, f"rookery {' '.join(arguments)}: a command is missing"
        name = left.pop(0)
        assert name in command.commands, f"rookery {' '.join(arguments)}: there is no {name}"
        command = command.commands[name]
    return command, left


@WRITTEN
def test_commands_in_blocks_are_understood(page: Path) -> None:
    """Every line with `rookery ...` is parsed by the real command: names, options, number and kind of arguments."""
    for line in _shell_lines(page.read_text()):
        for arguments in COMMAND.findall(line):
            command, left = _find(shlex.split(arguments))
            command.make_context(command.name, left)  # raises what a user would be told


@WRITTEN
def test_commands_in_sentences_exist(page: Path) -> None:
    """In running text arguments may be left out: `rookery check`, `queue remove ID --notify`, `account change`."""
    families = [name for name, command in TREE.commands.items() if hasattr(command, "commands")]
    happen = _event_names(_sources())
    for span in spans(page.read_text()):
        words = span.split()
        if words[0] != "rookery" and not (words[0] in families and words[1:]):
            continue
        if len(words) == 2 and words[1] in happen:
            continue  # a component and its event
        given = [word for word in words if word != "rookery"]
        if not given:
            continue
        command, left = _find(given)
        assert {word for word in left if word.startswith("--")} <= _options(command).keys(), span


# --- settings --------------------------------------------------------------------------------------------------------


@PAGES
def test_settings_exist(page: Path) -> None:
    keys, sections = {row.key for row in SETTINGS}, {row.section for row in SETTINGS}
    for span in spans(page.read_text()):
        found = re.match(r"([a-z]+)\.([a-z_]+)(?: = .*)?$", span)
        if found and found[1] in sections and found[2] != "db":  # directory.db is a file
            assert f"{found[1]}.{found[2]}" in keys, f"{page.name}: {span}"
        if found := re.fullmatch(r"\[([a-z]+)\]", span):
            assert found[1] in sections, f"{page.name}: {span}"


@PAGES
def test_settings_in_blocks_are_right(page: Path) -> None:
    for block in blocks(page.read_text(), "toml"):
        assert parse(block.text.encode())[1] == [], f"{page.name}:{block.line}"


# --- events and metrics ----------------------------------------------------------------------------------------------


def test_events_are_logged() -> None:
    """`component event` in the page on operating: some module has that logger and that event."""
    sources = _sources()
    loggers = {name for text in sources for name in re.findall(r'logger\("(\w+)"\)', text)}
    named = [span.split() for span in spans((DOCS / "operate.md").read_text())]
    events = [words for words in named if len(words) == 2 and words[0] in EVENTS and words[1] in _event_names(sources)]
    assert len(events) > 18
    for component, _ in events:
        assert component in loggers
    unknown = [words for words in named if len(words) == 2 and words[0] in EVENTS and words not in events]
    assert all(words[0] in ("queue", "node") for words in unknown), unknown  # those are commands


def _sources() -> list[str]:
    return [path.read_text() for path in (ROOT / "rookery").rglob("*.py")]


def _event_names(sources: list[str]) -> set[str]:
    logged = {
        name
        for text in sources
        for name in re.findall(r'\b(?:log|_log|say)(?:\.(?:info|warning|error|refused))?\(\s*"([a-z-]+)"', text)
    }
    return logged | {"delivered", "relayed", "deferred", "failed"}  # states.name.lower() in queue.py
