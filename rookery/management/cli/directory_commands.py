"""directory: the copies that nodes have of it, and which of them counts."""

from typing import Annotated

import typer

from rookery.management.cli.main import Context
from rookery.management.cli.output import age, moment, pairs, table, write, write_json
from rookery.management.client import Client
from rookery.management.operations import directory as operations
from rookery.management.operations.directory import DirectoryView

directory = typer.Typer(help="The copies of the directory that nodes have.", no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="As JSON.")]


def _client(context: typer.Context) -> Client:
    given: Context = context.obj
    return Client(given.site_folder())


def _show(found: DirectoryView) -> None:
    facts = [("state", found.state), ("generation", str(found.generation)), ("changes", str(found.changes))]
    if found.state == "replica":
        facts.append(("behind", f"{found.behind} changes"))
        facts.append(("last word", "none" if found.last_word is None else f"{age(found.last_word)} ago"))
        facts.append(("credentials", "all" if found.whole else "of this node's pool"))
    pairs(facts)
    if found.others:
        rows = [
            (one.address, one.node, one.state or one.what, str(one.generation), str(one.changes))
            for one in found.others
        ]
        table(("directory at", "node", "state", "generation", "changes"), rows, "")
    if found.lost:
        rows = [(str(one.number), one.kind, one.object, one.verb, moment(one.at)) for one in found.lost]
        table(("lost change", "of", "which", "was", "when"), rows, "")


@directory.command("status")
def status(context: typer.Context, json: Json = False) -> None:
    """Show what the directory of this node is, how far behind, and those of the other nodes."""
    found = _client(context).call(operations.show_directory)
    if json:
        write_json(found)
    else:
        _show(found)


@directory.command("promote")
def promote(
    context: typer.Context,
    force: Annotated[bool, typer.Option("--force", help="Also while the primary answers.")] = False,
) -> None:
    """Make the copy of this node the primary, for one that is gone. What that did since this node heard of it last is
    lost."""
    found = _client(context).call(operations.promote_directory, force)
    heard = "not since this node has started" if found.last_word is None else f"{age(found.last_word)} ago"
    write(f"This node has the primary directory now. The one before was last heard {heard}.")
    if found.behind:
        write(f"{found.behind} of its changes are not here.")


@directory.command("follow")
def follow(context: typer.Context) -> None:
    """Make the directory of this node a copy, when another node's was promoted in its place."""
    found = _client(context).call(operations.follow_directory)
    _show(found)
    write(f"From now on it is a copy. What it was is kept in {found.aside}")


def enter(app: typer.Typer) -> None:
    app.add_typer(directory, name="directory")
