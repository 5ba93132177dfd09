"""backend, pool: who serves which accounts."""

from typing import Annotated

import typer

from rookery.management.cli.main import Context
from rookery.management.cli.output import pairs, table, write, write_json
from rookery.management.client import Client
from rookery.management.operations import backends as operations

backend = typer.Typer(help="The processes that serve a pool's accounts.", no_args_is_help=True)
pool = typer.Typer(help="Stores, and the backends that serve them.", no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="As JSON.")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="As `backend list` shows it.")]


def _client(context: typer.Context) -> Client:
    given: Context = context.obj
    return Client(given.site_folder())


@backend.command("list")
def list_backends(context: typer.Context, json: Json = False) -> None:
    """List the backends that live."""
    found = _client(context).call(operations.list_backends)
    if json:
        write_json(found)
        return
    rows = [
        (
            one.backend,
            one.address,
            "draining" if one.draining else "serving",
            str(one.accounts),
            "-" if one.silence is None else f"{one.silence:.1f}s",
            str(one.incarnation),
        )
        for one in found
    ]
    table(("backend", "address", "state", "accounts", "last beat", "incarnation"), rows, "No backends.")


@backend.command("drain")
def drain(context: typer.Context, name: Name) -> None:
    """Hand its accounts to the others, one by one, and take no more until `undrain`."""
    moved = _client(context).at(name).call(operations.drain_backend)
    write(f"{name} hosts no accounts; {moved} went to whoever is asked for them next.")


@backend.command("undrain")
def undrain(context: typer.Context, name: Name) -> None:
    """Let it host accounts again."""
    _client(context).at(name).call(operations.undrain_backend)
    write(f"{name} serves again.")


@pool.command("list")
def list_pools(context: typer.Context, json: Json = False) -> None:
    """List the pools that this node serves."""
    found = _client(context).call(operations.list_pools)
    if json:
        write_json(found)
        return
    rows = [(one.pool, one.kind, str(one.backends), str(one.accounts), one.store) for one in found]
    table(("pool", "kind", "backends", "accounts", "store"), rows, "No pools.")


@pool.command("restored")
def restored(context: typer.Context) -> None:
    """Say that the pool's database comes from a copy: no UID that a client may have seen is used again.

    Every node of the pool must be stopped.
    """
    accounts = _client(context).call(operations.pool_restored)
    write(f"{accounts} accounts will go on with higher numbers. The pool may be started.")


def host(context: typer.Context, address: Annotated[str, typer.Argument(metavar="A@D")], json: Json = False) -> None:
    """Say which backend has an account open now."""
    found = _client(context).call(operations.account_host, address=address)
    if json:
        write_json(found)
        return
    pairs(
        [
            ("address", found.address),
            ("pool", found.pool),
            ("host", found.host or "none: its next session or delivery decides"),
            ("incarnation", str(found.incarnation)),
            ("epoch", str(found.epoch)),
        ]
    )


def enter(app: typer.Typer, account: typer.Typer) -> None:
    app.add_typer(backend, name="backend")
    app.add_typer(pool, name="pool")
    account.command("host")(host)
