"""The command tree. `main` is handed the two things that need the whole program: serving and the demonstration."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated

import typer
import typer.main

from rookery.base.errors import RookeryError
from rookery.management.cli.output import complain

SITE_VARIABLE = "ROOKERY_SITE"


@dataclass(frozen=True, slots=True)
class Programs:
    """What only the composition root can do. Both return the exit code."""

    serve: Callable[[Path, str], int]
    demo: Callable[[Path, int], int]


@dataclass(frozen=True, slots=True)
class Context:
    """What every command gets: the site, if one was named."""

    folder: Path | None
    programs: Programs

    def site_folder(self) -> Path:
        if self.folder is None:
            raise typer.BadParameter(f"which site? give --site DIR before the command, or set {SITE_VARIABLE}")
        return self.folder


app = typer.Typer(
    name="rookery",
    help="Rookery, a mail server that grows into a cluster.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _version(wanted: bool) -> None:
    if wanted:
        from rookery import __version__

        sys.stdout.write(f"rookery {__version__}\n")
        raise typer.Exit


@app.callback()
def root(
    context: typer.Context,
    site: Annotated[
        Path | None, typer.Option("--site", metavar="DIR", envvar=SITE_VARIABLE, help="The folder of the site.")
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_version, help="Print the version and end.")
    ] = False,
) -> None:
    context.obj = Context(site, context.obj)


@cache
def command_tree() -> typer.Typer:
    """`app` with every command family in it, each once however often this is called."""
    from rookery.management.cli import families

    families.enter(app)
    return app


def main(programs: Programs, arguments: Sequence[str] | None = None) -> int:
    """Run one command line; returns the exit code: 0 done, 1 refused or failed, 2 not understood."""
    command = typer.main.get_command(command_tree())
    try:
        command.main(args=list(sys.argv[1:] if arguments is None else arguments), prog_name="rookery", obj=programs)
    except RookeryError as error:
        complain(error.what or error.cause.value)
        return 1
    except SystemExit as end:  # how the command tree says the exit code, and that usage was wrong
        return end.code if isinstance(end.code, int) else 1
    return 0
