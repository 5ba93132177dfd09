"""The backends of this node's pool, which of them hosts an account, and the pool after a restore."""

import asyncio
from typing import TYPE_CHECKING

import msgspec

from rookery.base.errors import Cause, RookeryError
from rookery.base.ids import account_text
from rookery.management.operations.registry import operation
from rookery.storage.hosting import mark_restored, read_host

if TYPE_CHECKING:
    from rookery.management.parts import Parts


SILENCE = 3.0  # seconds in which a backend is heard, if it lives


class BackendView(msgspec.Struct, frozen=True):
    """`silence`: seconds without a beat, as seen from the backend that was asked; None when it is not known yet."""

    backend: str
    pool: str
    address: str
    incarnation: int
    draining: bool
    silence: float | None
    accounts: int


class HostView(msgspec.Struct, frozen=True):
    """`host`: the backend, "" while nobody hosts the account; then its next session or delivery decides. In a static
    pool incarnation and epoch are 0. `here`: it is in this node's pool; of another pool only its own nodes know more.
    """

    address: str
    account: str
    pool: str
    host: str
    incarnation: int
    epoch: int
    here: bool = True


@operation("backend.list", running=True)
async def list_backends(parts: "Parts") -> list[BackendView]:
    """Those that live."""
    held = (await parts.directory.find(lambda view: view.accounts_of_pools()))[parts.directory.here]
    return [
        BackendView(
            one.backend, parts.config.store.pool, one.address, one.incarnation, one.draining, one.silence,
            one.accounts if parts.config.store.database else held,
        )
        for one in await parts.placement.backends()
    ]  # fmt: skip


@operation("backend.drain", running=True)
async def drain_backend(parts: "Parts") -> int:
    """Hand every account that is hosted here to the other backends, and take no more; returns how many went. Those that
    are here when `undrain` is said stay.
    """
    if not parts.config.store.database:
        raise RookeryError(
            Cause.UNSUPPORTED, "a static pool has one backend, and none to take its accounts; stop the node instead"
        )
    held = len(parts.placement.hosted())
    await parts.placement.drain()
    return held - len(parts.placement.hosted())


@operation("backend.undrain", running=True)
async def undrain_backend(parts: "Parts") -> None:
    parts.placement.undrain()


@operation("account.host")
async def account_host(parts: "Parts", address: str) -> HostView:
    """Raises RookeryError NOT_FOUND."""
    record = parts.directory.account(address)
    if record is None:
        raise RookeryError(Cause.NOT_FOUND, f"there is no account {address}; see `rookery account list`")
    name, elsewhere = account_text(record.account), parts.directory.elsewhere(record.account)
    if elsewhere is not None:
        return HostView(record.address, name, elsewhere.name, "", 0, 0, here=False)
    pool = parts.config.store.pool
    if not parts.config.store.database:
        return HostView(record.address, name, pool, parts.backend, 0, 0)

    def read() -> tuple[str, int, int] | None:
        with parts.store.read() as reader:
            return read_host(reader, record.account)

    found = await parts.store.away(read)
    if found is None:
        raise RookeryError(Cause.NOT_FOUND, f"{address} is in the directory, and has no mailbox in pool {pool}")
    return HostView(record.address, name, pool, *found)


@operation("pool.restored")
async def pool_restored(parts: "Parts") -> int:
    """After the pool's database was restored from a copy, and before its backends are started; returns of how many
    accounts. Raises IN_USE while another backend lives.
    """
    if not parts.config.store.database:
        raise RookeryError(Cause.UNSUPPORTED, "a static pool is restored by `rookery restore`, which needs no more")
    if parts.running is not None:
        raise RookeryError(Cause.IN_USE, "a node is running on this site; stop every node of the pool first")
    await asyncio.sleep(SILENCE)  # what the copy says of backends that lived then is not to be believed at once
    others = parts.placement.living() - {parts.backend}
    if others:
        raise RookeryError(Cause.IN_USE, f"{', '.join(sorted(others))} of this pool are running; stop them first")

    def work() -> int:
        with parts.store.database.write() as tx:
            return mark_restored(tx)

    return await asyncio.to_thread(work)
