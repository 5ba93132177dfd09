"""Makes docs/settings.md and docs/commands.md from the code: `python -m rookery.management.docs docs`."""

import sys
from pathlib import Path
from typing import Any

import typer.main

from rookery.base.config.render import markdown as settings_page
from rookery.management.cli.main import command_tree


def pages() -> dict[str, str]:
    """File name -> text."""
    return {"settings.md": settings_page(), "commands.md": commands_page()}


def commands_page() -> str:
    parts = [
        "# Commands\n",
        "Every command of `rookery`. This page is made from the commands themselves (`make docs`), and a test compares "
        "the two.\n",
        "`rookery [--site DIR] COMMAND ...`. `--site` is the site's folder; `ROOKERY_SITE` in the environment does the "
        "same. Exit codes: 0 done, 1 refused or failed, 2 not understood.\n",
    ]
    root: Any = typer.main.get_command(command_tree())
    parts += _describe(root, "rookery")
    return "\n".join(parts)


def _describe(command: Any, path: str) -> list[str]:
    """One section a command, families in the order of the tree. (The tree's classes are the library's own.)"""
    children = getattr(command, "commands", None)
    if children is not None:
        sections = [] if path == "rookery" else [f"## {path}\n", f"{command.help}\n"]
        singles = [(name, child) for name, child in children.items() if not hasattr(child, "commands")]
        families = [(name, child) for name, child in children.items() if hasattr(child, "commands")]
        for name, child in singles + families:
            sections += _describe(child, f"{path} {name}")
        return sections
    arguments, options = [], []
    for parameter in command.params:
        if parameter.name == "help":
            continue
        if parameter.param_type_name == "argument":
            shown = parameter.metavar or parameter.name.upper()
            arguments.append((shown if parameter.required else f"[{shown}]", parameter.help or ""))
        else:
            options.append((_option(parameter), parameter.help or "", parameter.required))
    needed = [name for name, _, required in options if required]
    usage = " ".join(
        [path, *needed, *(["[OPTIONS]"] if len(needed) < len(options) else []), *(a for a, _ in arguments)]
    )
    lines = [f"### {path}\n", f"`{usage}`\n", f"{command.help.strip()}\n"]
    rows = [f"- `{name}` {text}".rstrip() for name, text in arguments if text]
    rows += [f"- `{name}` {text}".rstrip() for name, text, _ in options]
    if rows:
        lines.append("\n".join(rows) + "\n")
    return lines


def _option(parameter: Any) -> str:
    names = "/".join([", ".join(parameter.opts), *parameter.secondary_opts])
    if parameter.is_flag:
        return names
    return f"{names} {parameter.metavar or parameter.name.upper()}"


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    for name, text in pages().items():
        (folder / name).write_text(text, encoding="utf-8")
