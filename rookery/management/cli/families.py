"""Puts the command families into the tree, in the order in which `--help` shows them."""

import typer

from rookery.management.cli import (
    account_commands,
    address_commands,
    cluster_commands,
    directory_commands,
    log_commands,
    node_commands,
    pool_commands,
    queue_commands,
    site_commands,
)


def enter(app: typer.Typer) -> None:
    site_commands.enter(app)
    node_commands.enter(app)
    account_commands.enter(app)
    address_commands.enter(app)
    queue_commands.enter(app)
    pool_commands.enter(app, account_commands.account)
    cluster_commands.enter(app)
    directory_commands.enter(app)
    log_commands.enter(app)
