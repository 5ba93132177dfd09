"""init, serve, check, unit, demo, cluster: the site itself."""

from pathlib import Path
from typing import Annotated

import typer

from rookery.management.cli.main import Context
from rookery.management.cli.output import complain, write, write_json


def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The new site's folder; must be empty or not exist.")],
    domain: Annotated[str, typer.Option("--domain", help="The first domain mail is kept for.")],
    hostname: Annotated[str, typer.Option("--hostname", help="This machine's full name, as in its MX record.")],
    port_offset: Annotated[
        int, typer.Option("--port-offset", help="Added to the standard ports.", min=0, max=55_000)
    ] = 0,
    database: Annotated[
        str,
        typer.Option("--database", metavar="URI", help="Keep mail, directory and queue in this PostgreSQL database."),
    ] = "",
    backend: Annotated[
        list[str] | None,
        typer.Option(
            "--backend", metavar="NAME=ADDRESS", help="A backend of that database on this machine; may be repeated."
        ),
    ] = None,
) -> None:
    """Make a new site: settings, a self-signed certificate, an empty store and the domain; or one more of a pool."""
    from rookery.management.operations.init import initialise, pool_settings

    settings = pool_settings(database, backend or [])
    made = initialise(folder, domain=domain, hostname=hostname, port_offset=port_offset, settings=settings)
    config, _ = made.load()
    write(f"The site is in {made.folder}. Next:")
    write(f"  rookery --site {made.folder} account add NAME@{config.site.domain} --password-file -")
    write(f"  rookery --site {made.folder} serve")


def serve(
    context: typer.Context,
    backend: Annotated[
        str, typer.Option("--backend", metavar="NAME", help="Only this one of store.backends, not all of them.")
    ] = "",
) -> None:
    """Serve in the foreground until SIGTERM; prints a line `ready` when all listeners serve."""
    given: Context = context.obj
    raise typer.Exit(given.programs.serve(given.site_folder(), backend))


def demo(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Made when it does not exist.")],
    port_offset: Annotated[int, typer.Option("--port-offset", min=0, max=55_000, help="For a new one.")] = 10_000,
) -> None:
    """Make a site with two accounts and a welcome message, say what to try, and serve."""
    given: Context = context.obj
    raise typer.Exit(given.programs.demo(folder, port_offset))


def check(
    context: typer.Context,
    json: Annotated[bool, typer.Option("--json", help="As a JSON array.")] = False,
) -> None:
    """Name everything wrong with the settings and the certificate; exits 1 when something is."""
    import time

    from rookery.management.operations.check import check_site

    given: Context = context.obj
    problems = check_site(given.site_folder(), now=time.time())
    if json:
        write_json(problems)
    else:
        for problem in problems:
            complain(str(problem))
        if not problems:
            write("Nothing is wrong.")
    if any(not problem.warning for problem in problems):
        raise typer.Exit(1)


def unit(
    user: Annotated[str, typer.Option("--user", help="The user of the service.")] = "rookery",
) -> None:
    """Print a hardened systemd unit."""
    import sys

    from rookery.management.operations.unit import unit_text

    sys.stdout.write(unit_text(program=Path(sys.argv[0]).absolute(), user=user))


def enter(app: typer.Typer) -> None:
    for function in (init, serve, demo, check, unit):
        app.command()(function)
