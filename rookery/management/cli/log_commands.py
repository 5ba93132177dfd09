"""log level: how much of what is logged, at run time."""

from typing import Annotated

import typer

from rookery.base.config.tree import LogLevel
from rookery.management.cli.main import Context
from rookery.management.cli.output import table, write, write_json
from rookery.management.client import Client

log = typer.Typer(help="What the running node logs.", no_args_is_help=True)


@log.command()
def level(
    context: typer.Context,
    component: Annotated[str | None, typer.Argument(help="Such as smtp; all are listed without one.")] = None,
    to: Annotated[LogLevel | None, typer.Argument(metavar="LEVEL", help="debug, info, warning or error.")] = None,
    json: Annotated[bool, typer.Option("--json", help="As a JSON array.")] = False,
) -> None:
    """Show the levels, or change one until the next start or reload."""
    from rookery.management.operations import logs

    given: Context = context.obj
    client = Client(given.site_folder())
    if component is not None and to is not None:
        client.call(logs.set_log_level, component=component, level=to.value)
        write(f"{component} logs from {to.value} on.")
        return
    found = [row for row in client.call(logs.log_levels) if component in (None, row.component)]
    if json:
        write_json(found)
    else:
        table(("component", "level"), [(row.component, row.level) for row in found], "No component has logged yet.")


def enter(app: typer.Typer) -> None:
    app.add_typer(log, name="log")
