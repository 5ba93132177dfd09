"""Acts on pools, which pool has a new account, and the domains assigned to a pool.

A pool is known to the directory when a node of it has registered, or when somebody has added it by hand. The first one
is the site's own: it has every account that was never given a pool, among them all that a release without pools made.
"""

from collections import Counter

import msgspec

from rookery.base.config.tree import Placing
from rookery.base.errors import Cause, Refusal, RookeryError
from rookery.distribution.directory import reads
from rookery.distribution.directory.rules import Outcome, need_pool, no_pool, note, refused
from rookery.distribution.directory.rules_domains import enter, need_main_name
from rookery.distribution.directory.values import Domain, Kind, Pool, PoolBackend, PoolKind, Verb
from rookery.storage.engine import Transaction

POOLS_LIMIT = 1000
TURN = "pool-turn"  # the counter of round robin
_COLUMNS = ("pool", "name", "kind", "store", "address", "lmtp", "open", "created")


class AddPool(msgspec.Struct, frozen=True):
    """Addresses are those by which the other pools reach it, "" for those that its nodes give."""

    name: str
    kind: PoolKind
    address: str
    lmtp: str
    at: int


class ChangePool(msgspec.Struct, frozen=True):
    """None leaves as it is. `forget_store`: the store is gone for good, and another may take the name.
    `forget_backend`: one that will not come back, "" for none."""

    name: str
    at: int
    address: str | None = None
    lmtp: str | None = None
    open: bool | None = None
    forget_store: bool = False
    forget_backend: str = ""


class RemovePool(msgspec.Struct, frozen=True):
    name: str
    at: int


class RegisterPool(msgspec.Struct, frozen=True):
    """A backend says which store it serves, and where it is reached. `alone`: no other store can be in the directory.

    `first`: it may be the first pool of a directory that has accounts, for its store has their mail.
    """

    name: str
    kind: PoolKind
    store: str
    backend: PoolBackend
    alone: bool
    first: bool
    at: int
    generation: int = 1


class PromoteStore(msgspec.Struct, frozen=True):
    """A copy of the store, which has `generation`, serves the pool from now on."""

    store: str
    generation: int
    at: int


class ReportFree(msgspec.Struct, frozen=True):
    pool: int
    free: int


class AssignDomain(msgspec.Struct, frozen=True):
    """`pool` "": none, the policy decides again."""

    domain: str
    pool: str
    at: int


class LocalDomain(msgspec.Struct, frozen=True):
    """All accounts of the domain are in that pool, and stay; `pool` "": no longer. `new`: the domain is made."""

    domain: str
    pool: str
    at: int
    new: bool = False


def _insert(tx: Transaction, number: int, name: str, kind: PoolKind, store: str, at: int, *reached: str) -> None:
    address, lmtp = reached or ("", "")
    tx.insert_many("pool", _COLUMNS, [(number, name, kind.value, store, address, lmtp, 1, at)])


def add_pool(tx: Transaction, act: AddPool) -> Outcome[Pool]:
    """By hand, before its nodes have registered. Never the first: that is the pool of the accounts that there are."""
    known = reads.pools(tx)
    if not known:
        raise RookeryError(
            Cause.CONFLICT,
            "no node has told the directory of its own pool yet, and the first pool has the accounts that there are;"
            " start this node first",
        )
    if any(pool.name == act.name for pool in known):
        raise RookeryError(Cause.EXISTS, f"there is a pool {act.name} already; see `rookery pool show {act.name}`")
    _need_room(len(known))
    number = note(tx, act.at, (Kind.POOL, None, Verb.CREATED))
    _insert(tx, number, act.name, act.kind, "", act.at, act.address, act.lmtp)
    return Outcome(need_pool(tx, act.name), everything=True)


def _need_room(known: int) -> None:
    if known >= POOLS_LIMIT:
        raise RookeryError(Cause.TOO_MANY, f"a directory has at most {POOLS_LIMIT} pools; remove one that is empty")


def change_pool(tx: Transaction, act: ChangePool) -> Outcome[Pool]:
    found = need_pool(tx, act.name)
    if act.forget_backend and act.forget_backend not in [one.backend for one in found.backends]:
        raise RookeryError(
            Cause.NOT_FOUND, f"pool {act.name} has no backend {act.forget_backend}; see `rookery pool show {act.name}`"
        )
    note(tx, act.at, (Kind.POOL, str(found.id), Verb.CHANGED))
    tx.run(
        "UPDATE pool SET address = ?, lmtp = ?, open = ?, store = ? WHERE pool = ?",
        found.address if act.address is None else act.address,
        found.lmtp if act.lmtp is None else act.lmtp,
        int(found.open if act.open is None else act.open),
        "" if act.forget_store else found.store,
        found.id,
    )
    if act.forget_backend:
        tx.run("DELETE FROM pool_backend WHERE pool = ? AND backend = ?", found.id, act.forget_backend)
    return Outcome(need_pool(tx, act.name), everything=True)


def remove_pool(tx: Transaction, act: RemovePool) -> Outcome[None]:
    """Only an empty one, and never the first."""
    found = need_pool(tx, act.name)
    if found.id == reads.pools(tx)[0].id:
        raise RookeryError(
            Cause.IN_USE, f"{act.name} is the directory's first pool, and has the site's own postmaster; it stays"
        )
    accounts = reads.accounts_of_pools(tx)[found.id]
    if accounts:
        raise RookeryError(
            Cause.IN_USE,
            f"pool {act.name} still has {accounts} accounts; remove them first, with --now: `rookery account list`"
            " shows also those removed and kept",
        )
    row = tx.row("SELECT name FROM domain WHERE pool = ? ORDER BY name LIMIT 1", found.id)
    if row is not None:
        raise RookeryError(
            Cause.IN_USE,
            f"the domain {row[0]} is assigned to pool {act.name}; assign it elsewhere first:"
            f" `rookery domain change {row[0]} --pool NAME`",
        )
    note(tx, act.at, (Kind.POOL, str(found.id), Verb.DESTROYED))
    for table in ("account_pool", "pool_backend", "pool"):
        tx.run(f"DELETE FROM {table} WHERE pool = ?", found.id)
    return Outcome(None, everything=True)


def register_pool(tx: Transaction, act: RegisterPool) -> Outcome[Pool]:
    """A store keeps its pool under whatever name it has now; a name belongs to one store."""
    known = reads.pools(tx)
    if act.alone:
        found = known[0] if known else None
    else:
        found = next((pool for pool in known if pool.store == act.store), None)
        named = next((pool for pool in known if pool.name == act.name), None)
        if named is not None and named is not found and (named.store or found is not None):
            raise refused(_taken(act.name))
        found = found or named
    if found is None:
        return _enter(tx, act, len(known))
    if not act.alone and found.store == act.store:
        stale = outdated(found, act.generation)
        if stale is not None:
            raise refused(stale)
    if _as_known(found, act):
        return Outcome(found)
    note(tx, act.at, (Kind.POOL, str(found.id), Verb.CHANGED))
    tx.run(
        "UPDATE pool SET name = ?, kind = ?, store = ?, generation = ? WHERE pool = ?",
        act.name, act.kind.value, act.store, act.generation, found.id,
    )  # fmt: skip
    _set_backend(tx, found.id, act.backend)
    return Outcome(need_pool(tx, act.name), everything=True)


def _taken(name: str) -> Refusal:
    return Refusal(
        Cause.CONFLICT,
        f'store.pool: "{name}" is the pool of another store in this directory; give this one another name, or, if'
        f" that store is gone for good: `rookery pool change {name} --forget-store`",
    )


def outdated(pool: Pool, generation: int) -> Refusal | None:
    """Whether a copy of the pool's store with that generation may serve it no more. One that is higher than the
    directory's is right: the directory comes from a copy of before the promotion."""
    if generation >= pool.generation:
        return None
    return Refusal(
        Cause.CONFLICT,
        f"another copy of this store was promoted, and serves pool {pool.name}: the directory has generation"
        f" {pool.generation}, this folder {generation}. Remove this one; or, if it is to serve instead, stop the node"
        " of the other and promote this one: `rookery pool promote`",
    )


def promote_store(tx: Transaction, act: PromoteStore) -> Outcome[Pool]:
    """No other copy of the store may serve after this has committed."""
    found = next((pool for pool in reads.pools(tx) if pool.store == act.store), None)
    if found is None:
        raise RookeryError(
            Cause.NOT_FOUND,
            "the directory knows no pool with this store, so that there is nothing to promote; start the node",
        )
    note(tx, act.at, (Kind.POOL, str(found.id), Verb.CHANGED))
    generation = max(found.generation, act.generation) + 1
    tx.run("UPDATE pool SET generation = ? WHERE pool = ?", generation, found.id)
    return Outcome(need_pool(tx, found.name), everything=True)


def _as_known(found: Pool, act: RegisterPool) -> bool:
    known = (found.name, found.kind, found.store, found.generation)
    return known == (act.name, act.kind, act.store, act.generation) and act.backend in found.backends


def _enter(tx: Transaction, act: RegisterPool, known: int) -> Outcome[Pool]:
    if not known and not act.first:
        raise RookeryError(
            Cause.CONFLICT,
            "the directory has accounts, but no pool yet, and this store has no mail of theirs; start a node of the"
            " pool that has it first",
        )
    _need_room(known)
    number = note(tx, act.at, (Kind.POOL, None, Verb.CREATED))
    _insert(tx, number, act.name, act.kind, act.store, act.at)
    tx.run("UPDATE pool SET generation = ? WHERE pool = ?", act.generation, number)
    _set_backend(tx, number, act.backend)
    return Outcome(need_pool(tx, act.name), everything=True)


def _set_backend(tx: Transaction, number: int, backend: PoolBackend) -> None:
    tx.run("DELETE FROM pool_backend WHERE pool = ? AND backend = ?", number, backend.backend)
    row = (number, backend.backend, backend.address, backend.lmtp, backend.cluster)
    tx.insert_many("pool_backend", ("pool", "backend", "address", "lmtp", "cluster"), [row])


def report_free(tx: Transaction, act: ReportFree) -> Outcome[None]:
    """Not in the change log: it is read when an account is placed, and nobody waits for it."""
    tx.run("UPDATE pool SET free = ? WHERE pool = ?", act.free, act.pool)
    return Outcome(None)


def assign_domain(tx: Transaction, act: AssignDomain) -> Outcome[Domain]:
    """New accounts of the domain are made in that pool; those that exist stay where they are."""
    found = need_main_name(tx, act.domain)
    if found.local:
        raise RookeryError(
            Cause.CONFLICT,
            f"all accounts of {act.domain} are in its pool; let them be elsewhere first: `rookery domain change"
            f" {act.domain} --shared`",
        )
    number = need_pool(tx, act.pool).id if act.pool else 0
    note(tx, act.at, (Kind.DOMAIN, str(found.id), Verb.CHANGED))
    tx.run("UPDATE domain SET pool = ? WHERE domain = ?", number, found.id)
    return Outcome(msgspec.structs.replace(found, pool=number), everything=True)


def local_domain(tx: Transaction, act: LocalDomain) -> Outcome[Domain]:
    """One that is shared again keeps the pool for its new accounts."""
    pool = need_pool(tx, act.pool).id if act.pool else 0
    if act.new and not pool:
        raise RookeryError(Cause.INVALID, f"{act.domain}: a domain that is local is so to a pool")
    if act.new:
        found = enter(tx, act.domain, act.at)
    else:
        found = need_main_name(tx, act.domain)
        if pool:
            _need_none_elsewhere(tx, found, pool, act.pool)
        note(tx, act.at, (Kind.DOMAIN, str(found.id), Verb.CHANGED))
    made = msgspec.structs.replace(found, pool=pool or found.pool, local=bool(pool))
    tx.run("UPDATE domain SET pool = ?, local = ? WHERE domain = ?", made.pool, int(made.local), found.id)
    return Outcome(made, everything=True)


def _need_none_elsewhere(tx: Transaction, domain: Domain, pool: int, name: str) -> None:
    row = tx.row(
        "SELECT a.local FROM account a LEFT JOIN account_pool p ON p.account = a.account"
        " WHERE a.domain = ? AND COALESCE(p.pool, ?) <> ? ORDER BY a.local LIMIT 1",
        domain.id,
        _first(tx),
        pool,
    )
    if row is not None:
        raise RookeryError(
            Cause.IN_USE,
            f"{row[0]}@{domain.name} is not in pool {name}; a domain is local to a pool that has all its accounts",
        )


def _first(tx: Transaction) -> int:
    row = tx.row("SELECT MIN(pool) FROM pool")
    return row[0] or 0 if row is not None else 0


def need_home(tx: Transaction, domain: int, pool: int) -> None:
    """Raises RookeryError(CONFLICT) when an account of that pool may not be in the domain."""
    row = tx.row("SELECT name, pool FROM domain WHERE domain = ? AND local = 1", domain)
    if row is not None and row[1] != (pool or _first(tx)):
        raise refused(_not_there(row[0]))


def _not_there(domain: str) -> Refusal:
    return Refusal(
        Cause.CONFLICT,
        f"{domain} is local to a pool, and has no accounts elsewhere; see `rookery domain show {domain}`",
    )


# --- where a new account goes -----------------------------------------------------------------------------------------


class Places:
    """Of one batch of new accounts. `here`: the pool of the node that makes them, 0 while it is not known."""

    __slots__ = ("_by_name", "_counts", "_domains", "_first", "_here", "_open", "_placing", "_pools", "_tx")

    def __init__(self, tx: Transaction, placing: Placing, here: int) -> None:
        self._tx = tx
        self._here = here
        self._placing = placing
        self._pools = reads.pools(tx)
        self._first = self._pools[0].id if self._pools else 0
        self._by_name = {pool.name: pool.id for pool in self._pools}
        self._open = [pool for pool in self._pools if pool.open]
        self._domains: dict[int, tuple[int, str]] = {}
        self._counts: Counter[int] | None = None

    def of(self, domain: int, name: str) -> int | Refusal:
        """By its name, else the one of the domain, else by the policy; 0 is the first pool, and needs no row."""
        if not name and not self._pools:
            return 0
        found: int | Refusal
        pool, local = self._of_domain(domain)
        if name:
            found = self._by_name.get(name) or no_pool(name)
            if local and isinstance(found, int) and found != pool:
                return _not_there(local)
        else:
            found = pool or self._by_policy()
        return 0 if found == self._first else found

    def _of_domain(self, domain: int) -> tuple[int, str]:
        """Its pool, and its name if it is local to that."""
        found = self._domains.get(domain)
        if found is None:
            row = self._tx.row("SELECT pool, local, name FROM domain WHERE domain = ?", domain)
            found = self._domains[domain] = (0, "") if row is None else (row[0], row[2] if row[1] else "")
        return found

    def _by_policy(self) -> int | Refusal:
        if self._placing is Placing.HERE or not self._open:
            return self._here or _STRANGER
        if self._placing is Placing.ROUND_ROBIN:
            self._tx.run("UPDATE counter SET value = value + 1 WHERE name = ?", TURN)
            row = self._tx.row("SELECT value FROM counter WHERE name = ?", TURN)
            turn = int(row[0]) if row is not None else 0
            return self._open[turn % len(self._open)].id
        if self._counts is None:
            self._counts = reads.accounts_of_pools(self._tx)
        counts = self._counts
        if self._placing is Placing.MOST_SPACE:
            chosen = max(self._open, key=lambda pool: (-1 if pool.free is None else pool.free, -counts[pool.id]))
        else:
            chosen = min(self._open, key=lambda pool: counts[pool.id])
        counts[chosen.id] += 1
        return chosen.id


_STRANGER = Refusal(
    Cause.CONFLICT,
    "the directory does not know the pool of this node yet; start the node once, or name a pool with --pool",
)
