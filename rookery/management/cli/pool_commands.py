"""backend, pool: who serves which accounts."""

from enum import Enum
from typing import Annotated

import typer

from rookery.management.cli.main import Context
from rookery.management.cli.output import amount, need_any, pairs, table, write, write_json
from rookery.management.client import Client
from rookery.management.operations import backends as operations
from rookery.management.operations import pools
from rookery.management.operations.pools import PoolDetails

backend = typer.Typer(help="The processes that serve a pool's accounts.", no_args_is_help=True)
pool = typer.Typer(help="Stores, and the backends that serve them.", no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="As JSON.")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="As `backend list` shows it.")]

PoolName = Annotated[str, typer.Argument(metavar="NAME", help="As `store.pool` of its nodes says.")]
Reached = typer.Option(
    "--address", metavar="HOST:PORT", help="Where clients are sent, by IMAP; else where its backends listen."
)
Delivered = typer.Option(
    "--lmtp", metavar="HOST:PORT", help="Where deliveries are sent, by LMTP; else where its backends listen."
)


class PoolKinds(Enum):
    STATIC = "static"
    DYNAMIC = "dynamic"


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
    client = _client(context)
    moved = client.at(name).call(operations.drain_backend)
    gave = f"{name} gave {moved} account{'' if moved == 1 else 's'} away"
    if all(one.draining or one.backend == name for one in client.call(operations.list_backends)):
        write(f"{gave}. No backend takes accounts now: nobody can log in, and mail waits in the queue.")
    else:
        write(f"{gave}; each opens at whoever is asked for it next.")


@backend.command("undrain")
def undrain(context: typer.Context, name: Name) -> None:
    """Let it host accounts again."""
    _client(context).at(name).call(operations.undrain_backend)
    write(f"{name} serves again.")


@pool.command("list")
def list_pools(context: typer.Context, json: Json = False) -> None:
    """List the pools of the directory."""
    found = _client(context).call(pools.list_pools)
    if json:
        write_json(found)
        return
    rows = [
        (
            one.pool + (" (here)" if one.here else ""),
            one.kind,
            "open" if one.open else "closed",
            str(one.accounts),
            "-" if one.free is None else amount(one.free),
            str(one.backends),
            " ".join(one.addresses) or "-",
        )
        for one in found
    ]
    table(
        ("pool", "kind", "new accounts", "accounts", "free", "backends", "address"), rows, "No pools: start the node."
    )


@pool.command("show")
def show_pool(context: typer.Context, name: PoolName, json: Json = False) -> None:
    """Show one pool."""
    _write_pool(_client(context).call(pools.show_pool, name), json)


def _write_pool(view: PoolDetails, json: bool) -> None:
    if json:
        write_json(view)
        return
    pairs(
        [
            ("pool", view.pool + (", of this node" if view.here else "")),
            ("kind", view.kind),
            ("store", view.store or "not known: none of its nodes was started yet"),
            ("generation", str(view.generation)),
            ("accounts", str(view.accounts)),
            ("new accounts", "may be made there by a policy" if view.open else "only where it is named"),
            ("domains", ", ".join(view.domains) or "none"),
            ("free", "not known" if view.free is None else amount(view.free)),
            ("clients go to", ", ".join(view.addresses) or "nowhere yet"),
            ("deliveries go to", ", ".join(view.lmtp) or "nowhere yet"),
            ("backends", ", ".join(one.backend for one in view.registered) or "none yet"),
        ]
    )


@pool.command("add")
def add_pool(
    context: typer.Context,
    name: PoolName,
    address: Annotated[str, Reached] = "",
    lmtp: Annotated[str, Delivered] = "",
    kind: Annotated[
        PoolKinds, typer.Option("--kind", help="Of its store: a folder, or a database.")
    ] = PoolKinds.STATIC,
    json: Json = False,
) -> None:
    """Make a pool known before its nodes are started, or give it addresses of its own, as of a load balancer.

    A node adds its own pool, and where that is reached, when it starts.
    """
    _write_pool(_client(context).call(pools.add_pool, name, address=address, lmtp=lmtp, kind=kind.value), json)


@pool.command("change")
def change_pool(
    context: typer.Context,
    name: PoolName,
    address: Annotated[str | None, Reached] = None,
    lmtp: Annotated[str | None, Delivered] = None,
    open: Annotated[bool | None, typer.Option("--open/--closed", help="For new accounts by a policy.")] = None,
    forget_backend: Annotated[
        str, typer.Option("--forget-backend", metavar="BACKEND", help="One that will not come back.")
    ] = "",
    forget_store: Annotated[
        bool, typer.Option("--forget-store", help="Its store is gone for good: another may take its name.")
    ] = False,
    json: Json = False,
) -> None:
    """Change where a pool is reached, and what may go there."""
    need_any(
        "--address, --lmtp, --open, --closed, --forget-backend or --forget-store",
        address,
        lmtp,
        open,
        forget_backend or None,
        forget_store or None,
    )
    view = _client(context).call(
        pools.change_pool,
        name,
        address=address,
        lmtp=lmtp,
        open=open,
        forget_store=forget_store,
        forget_backend=forget_backend,
    )
    _write_pool(view, json)


@pool.command("remove")
def remove_pool(context: typer.Context, name: PoolName) -> None:
    """Forget a pool that has no accounts any more."""
    _client(context).call(pools.remove_pool, name)
    write(f"{name} is removed.")


@pool.command("promote")
def promote(context: typer.Context, json: Json = False) -> None:
    """Let this site's folder, a copy of a static pool's store, serve the pool; no other copy does from then on.

    Its node must not run. The numbers of all mailboxes go on higher, for the copy may lack what clients have seen.
    """
    _write_pool(_client(context).call(pools.promote_pool), json)


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
            ("host", found.host or _unhosted(here=found.here)),
            ("incarnation", str(found.incarnation)),
            ("epoch", str(found.epoch)),
        ]
    )


def _unhosted(*, here: bool) -> str:
    return "none: its next session or delivery decides" if here else "only nodes of that pool know"


def enter(app: typer.Typer, account: typer.Typer) -> None:
    app.add_typer(backend, name="backend")
    app.add_typer(pool, name="pool")
    account.command("host")(host)
