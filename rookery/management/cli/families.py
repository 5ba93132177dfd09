"""Puts the command families into the tree; a family is loaded only when its file is asked for."""

import typer

from rookery.management.cli import log_commands, site_commands


def enter(app: typer.Typer) -> None:
    site_commands.enter(app)
    log_commands.enter(app)
