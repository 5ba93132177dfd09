"""The SETTINGS table as people read it: the commented rookery.toml of a new site, and docs/settings.md."""

import textwrap
from collections.abc import Mapping

from rookery.base.config.tree import SETTINGS, Setting, section_types

_WIDTH = 100


def toml(values: Mapping[str, object]) -> str:
    """A rookery.toml with every setting: those in `values` (by key, typed) set, all others as comments."""
    parts = [
        "# Rookery's settings. What is commented out shows the default. Sizes: 50MB. Durations: 90s, 15m, 5d.\n"
        "# `rookery --site DIR check` names every mistake; SIGHUP makes a running node read this file again.\n"
    ]
    for section, kind in section_types().items():
        lines = [f"[{section}]", *_comment(kind.__doc__ or "")]
        for row in SETTINGS:
            if row.section == section:
                lines += ["", *_comment(row.text + (" (Read at the start only.)" if row.restart else ""))]
                if row.key in values:
                    lines.append(f"{row.name} = {row.kind.show(values[row.key])}")
                else:
                    lines.append(f"#{row.name} = {row.kind.show(row.default)}")
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def _comment(text: str) -> list[str]:
    return [f"# {line}" for line in textwrap.wrap(" ".join(text.split()), _WIDTH)]


def markdown() -> str:
    """docs/settings.md."""
    parts = [
        "# Settings\n",
        "Every setting of `rookery.toml` with its default. This page is made from the table in the code "
        "(`make docs`), and a test compares the two.\n",
        'Sizes are written `"50MB"` (kB, MB, GB and TB count in 1024s), durations `"90s"`, `"15m"`, `"1h30m"`, `"5d"`. '
        "`SIGHUP` makes a running node read the file again, whole or not at all; settings marked *start* are read "
        "at the start only, and the log names those that changed and wait for one.\n",
    ]
    for section, kind in section_types().items():
        parts.append(f"## [{section}]\n")
        parts.append(" ".join((kind.__doc__ or "").split()) + "\n")
        rows = [_row(row) for row in SETTINGS if row.section == section]
        parts.append("| setting | default | kind | what it does |\n|---|---|---|---|\n" + "\n".join(rows) + "\n")
    return "\n".join(parts)


def _row(row: Setting) -> str:
    text = row.text.replace("|", "\\|") + (" *start*" if row.restart else "")
    return f"| `{row.key}` | `{row.kind.show(row.default)}` | {row.kind.name} | {text} |"
