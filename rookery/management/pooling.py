"""This node and the pools of its directory: it says which pool it serves, finds the accounts of the others, and follows
what nodes of other pools do to accounts of its own.
"""

import asyncio
import shutil
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING

from rookery.base.config import Config
from rookery.base.errors import Cause, RookeryError
from rookery.base.ids import AccountId, account_from_text
from rookery.base.log import logger
from rookery.distribution.directory.addresses import POSTMASTER
from rookery.distribution.directory.directory import Directory
from rookery.distribution.directory.values import AccountRecord, AccountState, Change, Kind, PoolBackend, PoolKind, Verb
from rookery.distribution.placement.pools import AcrossPools, Hosts
from rookery.management.keeping import at_port, backend_host
from rookery.management.membership import files
from rookery.management.operations.accounts import add_account, purge_expired
from rookery.storage.schema import ACTIVE
from rookery.storage.store import Store

if TYPE_CHECKING:
    from rookery.management.parts import Parts

RECENT_CHANGES = 10_000  # of the directory's log that a start looks at
PAGE = 100  # changes looked at in one go
SAMPLE = 100  # accounts of which a store has some, if it has the mail of a directory
AGAIN = 1.0  # seconds after something went wrong

log = logger("pools")


# --- who has what -----------------------------------------------------------------------------------------------------


def across(store: Store, own: Hosts, directory: Directory) -> Hosts:
    """Who hosts an account of any pool of the directory; a directory that nobody shares has one."""
    if not directory.shared:
        return own

    def made(account: AccountId) -> bool:
        if store.database.shared:
            return True  # placement finds out
        with store.read() as reader:
            return reader.row("SELECT id FROM account WHERE id = ?", account) is not None

    async def make(account: AccountId) -> None:
        record = await directory.find(lambda view: view.account_by_id(account))
        if record is None:
            raise RookeryError(Cause.NOT_FOUND, "no such account")
        try:
            await store.create_account(account, limits=(record.size_limit, record.message_limit))
        except RookeryError as error:
            if error.cause is Cause.EXISTS:  # what is left of a removed one
                raise RookeryError(Cause.NOT_FOUND, "the account is removed") from error
            raise

    return AcrossPools(own, directory, made=made, make=make)


# --- what this node says ----------------------------------------------------------------------------------------------


async def register_pool(parts: "Parts") -> None:
    """The pool that this node serves, and where it is reached; later, while the primary of a directory that knows it
    already is away. Raises RookeryError CONFLICT."""
    config = parts.config
    listen = config.listen
    member = files(parts.site).state() is not None
    backend = PoolBackend(
        parts.backend,
        reached(config, parts.backend, listen.imap),
        reached(config, parts.backend, listen.lmtp),
        cluster_port(config, parts.backend) if member else "",
    )
    try:
        await parts.pools.register(
            config.store.pool,
            PoolKind.DYNAMIC if config.store.database else PoolKind.STATIC,
            parts.store.identity.store,
            backend,
            has_mail=_has_mail(parts),
            generation=parts.store.identity.generation,
        )
        await report_free(parts)
        parts.registered = await has_own_domain(parts)
    except RookeryError as error:
        known = parts.directory.copies.replica is not None and bool(parts.directory.here)
        if error.cause is not Cause.UNAVAILABLE or not known:
            raise
        log.refused("not-registered", error.refusal)


async def has_own_domain(parts: "Parts") -> bool:
    """Make the domain of this pool alone that the settings ask for, with its postmaster; whether no more is to do."""
    name, directory = parts.config.site.own_domain, parts.directory
    if not name:
        return True
    postmaster = f"{POSTMASTER}@{name}"
    found, account = await directory.find(lambda view: (view.domain(name), view.account(postmaster)))
    try:
        if found is None:
            found = await parts.pools.add_local(name)
        if not found.local or found.pool != directory.here:
            log.warning("own-domain-is-anothers", domain=name)
        elif account is None:
            await add_account(parts, postmaster, None, name="Postmaster")
    except RookeryError as error:
        if error.cause is not Cause.EXISTS:  # another backend of the pool was first, or it stands for others
            log.refused("own-domain-not-made", error.refusal, domain=name)
            return False
    return True


def reached(config: Config, backend: str, port: int) -> str:
    """host:port of a listener as other nodes and clients see it; "" when it is not open."""
    if not port:
        return ""
    host = backend_host(config, backend)
    if host in ("0.0.0.0", "::"):
        host = config.site.hostname
    return at_port(host, port + config.listen.port_offset)


def cluster_port(config: Config, backend: str) -> str:
    """host:port where other nodes are to dial this process; "" when the port is not open."""
    here = reached(config, backend, config.listen.cluster)
    return str(config.cluster.announce) if here and config.cluster.announce else here


def _has_mail(parts: "Parts") -> bool:
    """Whether the store has some of the accounts of a directory without pools, if that has any."""
    if not parts.directory.shared or parts.directory.pools():
        return True
    some = [(record.account,) for record in islice(parts.directory.accounts(), SAMPLE)]
    if not some:
        return True
    with parts.store.read() as reader:
        return bool(reader.select_many("account", ("id",), ("id",), some))


async def report_free(parts: "Parts") -> None:
    """For the policy most-space. How much a database has free, nobody tells its clients."""
    if parts.directory.shared and not parts.config.store.database:
        usage = await asyncio.to_thread(shutil.disk_usage, parts.site.store)
        await parts.pools.report_free(usage.free)


# --- what nodes of other pools do -------------------------------------------------------------------------------------


async def follow(parts: "Parts") -> None:
    """Without end: accounts that others made in this pool are made in its store, limits that they set hold, and what
    they removed for good is removed."""
    directory = parts.directory
    woken = asyncio.Event()
    unwatch = directory.watch(woken.set)
    seen = max(0, await directory.find(lambda view: view.last_change()) - RECENT_CHANGES)
    try:
        while True:
            try:
                seen = await catch_up(parts, seen)
            except RookeryError as error:
                log.refused("not-followed", error.refusal)
                await asyncio.sleep(AGAIN)
                continue
            await woken.wait()
            woken.clear()
    finally:
        unwatch()


async def catch_up(parts: "Parts", seen: int) -> int:
    """With the changes after number `seen`; returns the number of the last."""
    directory = parts.directory
    if not directory.several_pools:
        return await directory.find(lambda view: view.last_change())
    while changes := await _changes(directory, seen):
        await _settle(
            parts,
            {
                account_from_text(change.object)
                for change in changes
                if change.kind is Kind.ACCOUNT and change.verb is not Verb.DESTROYED
            },
        )
        seen = changes[-1].number
    return seen


async def _changes(directory: Directory, after: int) -> list[Change]:
    return await directory.find(lambda view: view.changes(after, PAGE))


def _ours(directory: Directory, accounts: Iterable[AccountId]) -> Iterator[AccountRecord]:
    for account in accounts:
        record = directory.account_by_id(account)
        if record is not None and directory.elsewhere(account) is None:
            yield record


async def _settle(parts: "Parts", accounts: set[AccountId]) -> None:
    """See to it that the store has those of this pool, with the limits of the directory, and not those whose time is
    over."""
    store, directory = parts.store, parts.directory
    ours = await directory.find(lambda view: [*_ours(view, accounts)])
    wanted = [record for record in ours if record.state is not AccountState.REMOVED]
    if any(record.state is AccountState.REMOVED and record.removed_until <= directory.now() for record in ours):
        await purge_expired(parts)

    def read() -> dict[bytes, tuple[int, int] | None]:
        """None: the account is not active here, whatever the directory still says."""
        with store.read() as reader:
            columns = ("id", "size_limit", "message_limit", "state")
            rows = reader.select_many("account", columns, ("id",), [(record.account,) for record in wanted])
        return {row[0]: (row[1], row[2]) if row[3] == ACTIVE else None for row in rows}

    have = await store.away(read) if wanted else {}
    for record in wanted:
        limits = (record.size_limit, record.message_limit)
        if record.account not in have:
            await store.create_account(record.account, limits=limits)
        elif have[record.account] not in (None, limits):
            await store.set_limits(record.account, *limits)
