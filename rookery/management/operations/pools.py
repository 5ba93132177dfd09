"""The pools of the directory: what they are, where they are reached, and how many accounts each has."""

import asyncio
from typing import TYPE_CHECKING, Literal

import msgspec

from rookery.base.errors import Cause, RookeryError
from rookery.management.operations.registry import operation

if TYPE_CHECKING:
    from rookery.distribution.directory.values import Pool
    from rookery.management.parts import Parts

KINDS = Literal["static", "dynamic"]


class PoolView(msgspec.Struct, frozen=True):
    """`kind`: dynamic (several backends, PostgreSQL) or static (one backend, a folder). `store`: its id, for life, ""
    before a node of it was started. `here`: the pool of the node that was asked.

    `open`: policies may choose it for new accounts. `free`: octets, None: not known. `addresses`, `lmtp`: host:port
    where clients and deliveries are sent. `backends`: of this node's pool those that live, else those that it had.
    """

    pool: str
    kind: str
    store: str
    backends: int
    accounts: int
    here: bool
    open: bool
    free: int | None
    addresses: list[str]
    lmtp: list[str]


class PoolBackendView(msgspec.Struct, frozen=True):
    backend: str
    address: str
    lmtp: str


class PoolDetails(PoolView, frozen=True):
    """`registered`: every backend that has ever said where it is reached. `domains`: those assigned to the pool.
    `generation`: of its store; it rises when a copy of the store is promoted."""

    registered: list[PoolBackendView]
    domains: list[str]
    generation: int


async def _view(parts: "Parts", pool: "Pool", accounts: int) -> PoolView:
    here = pool.id == parts.directory.here
    return PoolView(
        pool=pool.name,
        kind=pool.kind.name.lower(),
        store=pool.store,
        backends=len(await parts.placement.backends()) if here else len(pool.backends),
        accounts=accounts,
        here=here,
        open=pool.open,
        free=pool.free,
        addresses=list(pool.addresses),
        lmtp=list(pool.lmtp_addresses),
    )


@operation("pool.list")
async def list_pools(parts: "Parts") -> list[PoolView]:
    """The first one has every account that was made before there were several."""
    pools, counts = await parts.directory.find(lambda directory: (directory.pools(), directory.accounts_of_pools()))
    return [await _view(parts, pool, counts[pool.id]) for pool in pools]


@operation("pool.show")
async def show_pool(parts: "Parts", name: str) -> PoolDetails:
    """Raises RookeryError NOT_FOUND."""
    pool = parts.pools.need(name)
    counts, domains = await parts.directory.find(lambda view: (view.accounts_of_pools(), [*view.domains()]))
    view = await _view(parts, pool, counts[pool.id])
    return PoolDetails(
        **msgspec.structs.asdict(view),
        registered=[PoolBackendView(one.backend, one.address, one.lmtp) for one in pool.backends],
        domains=[domain.name for domain in domains if domain.pool == pool.id],
        generation=pool.generation,
    )


@operation("pool.add")
async def add_pool(parts: "Parts", name: str, address: str = "", lmtp: str = "", kind: KINDS = "static") -> PoolDetails:
    """Raises INVALID, EXISTS, UNSUPPORTED (a directory that nobody shares), CONFLICT (before this node's own pool)."""
    from rookery.distribution.directory.values import PoolKind

    await parts.pools.add(name, PoolKind[kind.upper()], address, lmtp)
    return await show_pool(parts, name)


@operation("pool.change")
async def change_pool(
    parts: "Parts",
    name: str,
    address: str | None = None,
    lmtp: str | None = None,
    open: bool | None = None,
    forget_store: bool = False,
    forget_backend: str = "",
) -> PoolDetails:
    """None leaves as it is; an address "" goes back to those of the backends."""
    await parts.pools.change(
        name, address=address, lmtp=lmtp, open=open, forget_store=forget_store, forget_backend=forget_backend
    )
    return await show_pool(parts, name)


@operation("pool.promote")
async def promote_pool(parts: "Parts") -> PoolDetails:
    """This folder, a copy of the pool's store, serves the pool from now on, and no other copy does.

    Raises UNSUPPORTED (a dynamic pool, or a directory that nobody shares), IN_USE (the node runs), NOT_FOUND.
    """
    from rookery.storage.promotion import jump_all, promote

    if parts.config.store.database:
        raise RookeryError(
            Cause.UNSUPPORTED, "the store of this pool is a database, not a folder; see `rookery pool restored`"
        )
    if parts.running is not None:
        raise RookeryError(Cause.IN_USE, "a node serves this folder; it is for a copy whose node does not run yet")
    owner = parts.store.identity
    pool = await parts.pools.promote(owner.store, owner.generation)
    await asyncio.to_thread(jump_all, parts.store.database, max(1, pool.generation - owner.generation))
    await asyncio.to_thread(promote, parts.store.folder, owner, pool.generation)
    return await show_pool(parts, pool.name)


@operation("pool.remove")
async def remove_pool(parts: "Parts", name: str) -> None:
    """Raises NOT_FOUND, IN_USE while it has accounts or domains."""
    await parts.pools.remove(name)
