"""cluster, node: several machines that are one mail system."""

import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from rookery.management.cli.main import Context
from rookery.management.cli.output import moment, table, write, write_json
from rookery.management.client import Client
from rookery.management.operations import cluster as operations

cluster = typer.Typer(help="Several nodes that are one mail system.", no_args_is_help=True)
node = typer.Typer(help="The nodes of the cluster.", no_args_is_help=True)

WATCH_EVERY = 2.0  # seconds
CLEAR = "\x1b[H\x1b[2J"  # of the terminal

Json = Annotated[bool, typer.Option("--json", help="As JSON.")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="As `node list` shows it.")]


def _client(context: typer.Context) -> Client:
    given: Context = context.obj
    return Client(given.site_folder())


@cluster.command("try")
def try_cluster(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Made when it does not exist.")],
    port_offset: Annotated[int, typer.Option("--port-offset", min=0, max=55_000, help="For a new one.")] = 10_000,
    static: Annotated[bool, typer.Option("--static", help="Static pools only, without PostgreSQL.")] = False,
) -> None:
    """Make a cluster to try, on loopback, and serve: PostgreSQL, a dynamic pool of three backends, two static pools,
    two directory nodes, two frontends, a mail exchanger."""
    from rookery.management.trial.run import run

    raise typer.Exit(run(folder, port_offset, sys.argv[0], static=static))


@cluster.command("init")
def init_cluster(context: typer.Context) -> None:
    """Make this node the first of a cluster: it has the cluster's authority, and all roles."""
    made = _client(context).call(operations.init_cluster)
    write(f"The cluster {made.cluster} has one node, {made.node}. Restart it: then others can join.")
    write(f"The key of its authority is {context.obj.site_folder() / 'cluster' / 'authority.key'}: keep a copy safe.")


@cluster.command("authority")
def list_authorities(context: typer.Context, json: Json = False) -> None:
    """List the authorities whose certificates nodes trust: one, and the former one while a change of the key lasts."""
    from rookery.management.operations import authority as operations

    found = _client(context).call(operations.list_authorities)
    if json:
        write_json(found)
        return
    rows = [
        (
            one.authority,
            "signs" if one.signs else "former",
            "here" if one.here else "elsewhere" if one.signs else "destroyed",
            moment(one.ends),
            str(one.certificates),
            moment(one.last),
        )
        for one in found
    ]
    table(("authority", "state", "key", "ends", "certificates", "last one ends"), rows, "No cluster.")


@cluster.command("roll")
def roll(context: typer.Context) -> None:
    """Change the key of the authority: nodes get certificates of the new one by themselves, and nothing is cut off."""
    from rookery.management.operations import authority as operations

    _client(context).call(operations.roll)
    write("A new key signs from now on. Keep a copy of it where the one of the former key was:")
    write(f"  {context.obj.site_folder() / 'cluster' / 'authority.key'}")
    write("The former authority is dropped when the last certificate that it signed has ended, in about a day.")


@cluster.command("retire")
def retire(context: typer.Context) -> None:
    """Drop former authorities that nobody needs any more, which the cluster also does by itself every hour."""
    from rookery.management.operations import authority as operations

    dropped = _client(context).call(operations.retire)
    write(f"{dropped} dropped." if dropped else "None can be dropped yet: see `rookery cluster authority`.")


@cluster.command("status")
def cluster_status(
    context: typer.Context,
    watch: Annotated[bool, typer.Option("--watch", help="Again and again, until Ctrl-C.")] = False,
    json: Json = False,
) -> None:
    """Show all nodes: roles, releases, backends, links and streams; whoever does not answer is silent."""
    from rookery.management.cli.cluster_view import show
    from rookery.management.operations.cluster_status import cluster_status as operation

    client = _client(context)

    def draw() -> None:
        found = client.call(operation)
        sys.stdout.write(CLEAR if watch else "")
        if json:
            write_json(found)
        else:
            show(found)
        sys.stdout.flush()

    draw()
    with suppress(KeyboardInterrupt):
        while watch:
            time.sleep(WATCH_EVERY)
            draw()


@node.command("add")
def add_node(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of the new node, for life.")],
    roles: Annotated[list[str], typer.Option("--role", metavar="ROLE", help="What it may do; may be repeated.")],
    address: Annotated[
        list[str] | None,
        typer.Option("--address", metavar="HOST:PORT", help="Where it reaches this node's join port; may be repeated."),
    ] = None,
) -> None:
    """Print a token with which the new node joins: once, and within an hour."""
    write(_client(context).call(operations.add_node, name, roles, address or []))


@node.command("join")
def join(
    context: typer.Context,
    token: Annotated[str, typer.Argument(metavar="TOKEN", help="As `node add` has printed it.")],
    directory: Annotated[
        list[str] | None,
        typer.Option("--directory", metavar="HOST:PORT", help="The cluster port of a directory node; may be repeated."),
    ] = None,
    upstream: Annotated[
        list[str] | None,
        typer.Option(
            "--upstream",
            metavar="HOST:PORT",
            help="The cluster port of a frontend, for one that reaches no directory node; may be repeated.",
        ),
    ] = None,
    inner: Annotated[bool, typer.Option("--inner", help="A frontend that others may name as theirs.")] = False,
    hostname: Annotated[str, typer.Option("--hostname", help="The name with which the new node greets.")] = "localhost",
    domain: Annotated[str, typer.Option("--domain", help="The default domain, as of the other nodes.")] = "",
    own_domain: Annotated[
        str, typer.Option("--own-domain", metavar="NAME", help="With mail: a domain of the new node's pool alone.")
    ] = "",
    port_offset: Annotated[int, typer.Option("--port-offset", min=0, max=55_000, help="Added to all ports.")] = 0,
    listen: Annotated[
        list[str] | None,
        typer.Option("--listen", metavar="ADDRESS", help="Listen there only; may be repeated. Default: everywhere."),
    ] = None,
    pool: Annotated[
        str, typer.Option("--pool", metavar="NAME", help="With mail: a static pool of that name, or the dynamic one.")
    ] = "",
    directory_database: Annotated[
        str, typer.Option("--directory-database", metavar="URI", help="The PostgreSQL database with the directory.")
    ] = "",
    directory_copy: Annotated[
        bool, typer.Option("--directory-copy", help="Keep a copy of the directory, of the primary in --directory.")
    ] = False,
    database: Annotated[
        str, typer.Option("--database", metavar="URI", help="With mail: the database of a dynamic pool.")
    ] = "",
    backend: Annotated[
        list[str] | None,
        typer.Option("--backend", metavar="NAME=ADDRESS", help="A backend of it on this machine; may be repeated."),
    ] = None,
) -> None:
    """Make this folder a node of the cluster. One that is a site becomes a member, and nothing else of it changes. A
    new one is a frontend, without mail and accounts; with --pool or --database a node with mail; with
    --directory-database or --directory-copy alone one with the directory only. A static pool without a database for
    the directory keeps a copy."""
    from rookery.management.operations.joining import Plan, join_cluster

    given: Context = context.obj
    plan = Plan(
        hostname=hostname,
        domain=domain,
        port_offset=port_offset,
        directory=directory or [],
        upstream=upstream or [],
        inner=inner,
        pool=pool,
        database=database,
        backends=backend or [],
        shared=directory_database,
        copy=directory_copy,
        own_domain=own_domain,
        listen=listen or [],
    )
    member = join_cluster(given.site_folder(), token, plan)
    write(f"{member.name} is a member of the cluster. Next:")
    write(f"  rookery --site {given.site_folder()} serve")


@node.command("list")
def list_nodes(context: typer.Context, json: Json = False) -> None:
    """List the nodes of the cluster, and those that were invited."""
    found = _client(context).call(operations.list_nodes)
    if json:
        write_json(found)
        return
    rows = [
        (
            one.name,
            " ".join(one.roles),
            "revoked" if one.revoked else "member" if one.ends else "invited",
            moment(one.ends),
        )
        for one in found
    ]
    table(("node", "roles", "state", "certificate ends"), rows, "No cluster.")


@node.command("revoke")
def revoke(context: typer.Context, name: Name) -> None:
    """End a node's membership: every node closes its links to it, at once."""
    _client(context).call(operations.revoke_node, name)
    write(f"{name} is a member no more.")


def enter(app: typer.Typer) -> None:
    app.add_typer(cluster, name="cluster")
    app.add_typer(node, name="node")
