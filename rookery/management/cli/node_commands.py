"""status, health, trace, snapshot, restore, store verify: how a node is and what it did."""

import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from rookery.base.errors import RookeryError
from rookery.management.cli.main import Context
from rookery.management.cli.output import age, amount, complain, moment, pairs, table, write, write_json
from rookery.management.client import Client

store = typer.Typer(help="Mail that is kept.", no_args_is_help=True)

HEALTH_TIME = 0.9  # seconds for the whole of `rookery health`
Json = Annotated[bool, typer.Option("--json", help="As JSON.")]


def _client(context: typer.Context) -> Client:
    given: Context = context.obj
    return Client(given.site_folder())


def status(
    context: typer.Context,
    backend: Annotated[
        str, typer.Option("--backend", metavar="NAME", help="Ask this one of several, not the first that runs.")
    ] = "",
    json: Json = False,
) -> None:
    """Show how the site is, as one of its backends sees it."""
    from rookery.management.operations.status import status as operation

    client = _client(context)
    found = (client.at(backend) if backend else client).call(operation)
    if json:
        write_json(found)
        return
    connections = ", ".join(f"{name} {count}" for name, count in found.connections.items())
    facts = [
        ("site", found.site),
        ("version", found.version),
        ("node", f"running for {age(time.time() - found.started)}" if found.running else "stopped"),
    ]
    if found.hosted is not None:
        facts.append(("backend", f"{found.backend}, hosts {found.hosted} account{'' if found.hosted == 1 else 's'}"))
    if found.domains is not None:
        facts.append(("domains", str(found.domains)))
    if found.accounts is not None:
        facts.append(("accounts", str(found.accounts)))
    facts.append(("connections", connections or "none"))
    if found.queue is not None:
        queue = found.queue
        states = ", ".join(f"{count} {name}" for name, count in queue.states.items() if count)
        oldest = f", the oldest for {age(queue.oldest_age)}" if queue.oldest else ""
        facts.append(("queue", f"{queue.messages} messages, {amount(queue.octets)}{oldest}"))
        facts.append(("recipients", states or "none"))
    if found.member is not None:
        member = found.member
        facts.append(("member", f"{member.node}: {', '.join(member.roles)}; certificate ends {moment(member.ends)}"))
        if found.running:
            facts.append(("links", f"{member.links}, {member.streams} streams"))
        if member.heard is not None:
            facts.append(("directory", f"heard of {age(member.heard)} ago"))
    pairs(facts)


def health(context: typer.Context, json: Json = False) -> None:
    """Exit 0 when the node serves and can store, all of its backends if it has several; else 1; within a second."""
    from rookery.management.operations.status import Health, all_healthy
    from rookery.management.operations.status import health as operation

    def ask(client: Client) -> Health:
        try:
            return client.call_within(HEALTH_TIME, operation)
        except RookeryError as error:
            return Health(False, [error.what or error.cause.value])

    client = _client(context)
    names = [name for name, _ in client.config.store.backends]
    if names:
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(len(names)) as threads:  # all at once: one that hangs takes no time of the others
            found = all_healthy(dict(zip(names, threads.map(ask, map(client.at, names)), strict=True)))
    else:
        found = ask(client)
    if json:
        write_json(found)
    elif found.ok:
        write("healthy")
    for problem in [*found.problems, *found.warnings] if not json else ():
        complain(problem)
    if not found.ok:
        raise typer.Exit(1)


def trace(
    context: typer.Context,
    ident: Annotated[str, typer.Argument(metavar="ID", help="A session or message id, a Message-ID, or an address.")],
    log: Annotated[
        str | None, typer.Option("--log", metavar="FILE", help="Search this log instead; - is standard input.")
    ] = None,
    json: Json = False,
) -> None:
    """Tell what happened to a message or in a session: its log lines and its place in the queue."""
    from rookery.management.operations import trace as operations

    if log == "-":
        text = sys.stdin.read().splitlines()
        found = operations.search(ident, lambda: text)
    elif log is not None:
        found = operations.search(ident, lambda: operations.read_lines(Path(log)))
    else:
        found = _client(context).call(operations.trace, ident)
    if json:
        write_json(found)
        return
    for line in found.lines:
        write(line)
    if found.truncated:
        complain(f"there is more; these are the first {len(found.lines)} lines")
    for message in found.messages:
        for recipient in message.recipients:
            told = f", told {recipient.text}" if recipient.text else ""
            write(f"message {message.message} to {recipient.address}: {recipient.state}{told}")
    if not found.lines and not found.messages:
        complain(f"nothing is known of {ident}; if the log was rotated since, give the older one: --log FILE")
        raise typer.Exit(1)


def snapshot(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Must be empty or not exist.")],
    json: Json = False,
) -> None:
    """Copy the whole site as of one moment, while it serves."""
    from rookery.management.operations.snapshot import snapshot as operation

    mark = _client(context).call(operation, str(folder.absolute()))
    if json:
        write_json(mark)
    else:
        write(f"{folder} holds everything of {mark.domain}: {mark.files} files, {amount(mark.octets)}.")


def restore(
    context: typer.Context,
    snapshot_folder: Annotated[Path, typer.Argument(metavar="SNAPSHOT", help="A folder made by `rookery snapshot`.")],
    folder: Annotated[
        Path | None, typer.Argument(metavar="DIR", help="The new site, else --site; must be empty or not exist.")
    ] = None,
) -> None:
    """Make a site from a snapshot."""
    from rookery.management.operations.snapshot import restore as operation

    given: Context = context.obj
    target = folder or given.site_folder()
    mark = operation(snapshot_folder.absolute(), target.absolute())
    write(f"{target} is the site {mark.domain} as of {time.strftime('%F %T', time.localtime(mark.began))}.")


@store.command()
def verify(context: typer.Context, json: Json = False) -> None:
    """Compare index and messages, octet for octet; exits 1 when something is wrong."""
    from rookery.management.operations.verify import verify_store

    found = _client(context).call(verify_store)
    if json:
        write_json(found)
    else:
        table(("what is wrong",), [(problem,) for problem in found.problems], "Nothing is wrong.")
        write(f"{found.blobs} messages, {amount(found.octets)}.")
    if found.problems:
        raise typer.Exit(1)


def enter(app: typer.Typer) -> None:
    for function in (status, health, trace, snapshot, restore):
        app.command()(function)
    app.add_typer(store, name="store")
