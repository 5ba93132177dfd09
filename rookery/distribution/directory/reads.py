"""Reads of the directory, over any Reader. No memory here: see memory.py."""

from collections import Counter
from collections.abc import Iterator

import msgspec

from rookery.base.ids import AccountId
from rookery.distribution.directory.addresses import POSTMASTER, Address
from rookery.distribution.directory.values import (
    AccountRecord,
    AccountState,
    Alias,
    Change,
    Credential,
    CredentialKind,
    Credentials,
    Domain,
    Group,
    Kind,
    LastLogin,
    Pool,
    PoolBackend,
    PoolKind,
    Verb,
)
from rookery.storage.engine import Reader, Row

SITE_DOMAIN = 0  # the nameless domain of the built-in postmaster
ADMINISTRATOR_LIMIT = 8  # administrators who get the mail of postmaster and abuse
PAGE = 500

_ACCOUNT = (
    "SELECT a.account, a.local, d.name, a.state, a.removed_until, a.name, a.size_limit, a.message_limit, a.admin,"
    " a.created, a.version, a.domain, p.pool FROM account a LEFT JOIN domain d ON d.domain = a.domain"
    " LEFT JOIN account_pool p ON p.account = a.account "
)
_OLDEST = "WHERE a.domain = ? AND a.state = 1 ORDER BY a.created, a.account LIMIT 1"
_STATES = {state.value: state for state in AccountState}
_KINDS = {kind.value: kind for kind in Kind}


class Entry(msgspec.Struct, frozen=True):
    """What a name stands for: an account's id, or an expansion's."""

    kind: Kind
    object: bytes


class Expansion(msgspec.Struct, frozen=True):
    """An alias or a group with its targets as (canonical address, address as given)."""

    kind: Kind
    local: str
    domain: int
    targets: tuple[tuple[Address, str], ...]


def _record(row: Row) -> AccountRecord:
    account, local, domain, state, until, name, size, messages, admin, created, version, number, pool = row
    return AccountRecord(
        AccountId(account),
        local if number == SITE_DOMAIN else f"{local}@{domain}",
        _STATES[state],
        until,
        name,
        size,
        messages,
        bool(admin),
        created,
        version,
        number,
        pool or 0,
    )


# --- domains --------------------------------------------------------------------------------------------------------


def domain_number(reader: Reader, name: str) -> int | None:
    row = reader.row("SELECT domain FROM domain_name WHERE name = ?", name)
    return None if row is None else int(row[0])


def domain(reader: Reader, name: str) -> Domain | None:
    row = reader.row(
        "SELECT d.domain, d.name, d.created, d.pool, d.local FROM domain_name n JOIN domain d ON d.domain = n.domain"
        " WHERE n.name = ?",
        name,
    )
    return None if row is None else _domain(reader, row)


def _domain(reader: Reader, row: Row) -> Domain:
    number, name, created, pool, local = row
    others = reader.rows("SELECT name FROM domain_name WHERE domain = ? AND name <> ? ORDER BY name", number, name)
    return Domain(number, name, tuple(other for (other,) in others), created, pool, bool(local))


def domains(reader: Reader, after: str, limit: int) -> list[Domain]:
    rows = reader.rows(
        "SELECT domain, name, created, pool, local FROM domain WHERE name > ? ORDER BY name LIMIT ?", after, limit
    )
    return [_domain(reader, row) for row in rows]


def oldest_domain(reader: Reader) -> str:
    """One that is local to a pool only where all are; "" when there is none."""
    row = reader.row("SELECT name FROM domain ORDER BY local, domain LIMIT 1")
    return "" if row is None else str(row[0])


# --- names and accounts ---------------------------------------------------------------------------------------------


def entry(reader: Reader, number: int, local: str) -> Entry | None:
    row = reader.row("SELECT kind, object FROM name WHERE domain = ? AND local = ?", number, local)
    return None if row is None else Entry(_KINDS[row[0]], row[1])


def account(reader: Reader, account: bytes) -> AccountRecord | None:
    row = reader.row(_ACCOUNT + "WHERE a.account = ?", account)
    return None if row is None else _record(row)


def accounts(reader: Reader, number: int, after: str, limit: int) -> list[AccountRecord]:
    """Accounts of one domain in order of their local parts."""
    rows = reader.rows(_ACCOUNT + "WHERE a.domain = ? AND a.local > ? ORDER BY a.local LIMIT ?", number, after, limit)
    return [_record(row) for row in rows]


def count_accounts(reader: Reader, number: int | None = None) -> int:
    if number is None:
        row = reader.row("SELECT COUNT(*) FROM account WHERE domain <> ?", SITE_DOMAIN)
    else:
        row = reader.row("SELECT COUNT(*) FROM account WHERE domain = ?", number)
    assert row is not None
    return int(row[0])


def expired(reader: Reader, pool: int, now: int, limit: int) -> list[AccountRecord]:
    """Removed accounts of one pool (0: the first) whose time is over."""
    rows = reader.rows(
        _ACCOUNT + "WHERE a.state = 3 AND a.removed_until <= ? AND COALESCE(p.pool, 0) = ?"
        " ORDER BY a.removed_until LIMIT ?",
        now,
        pool,
        limit,
    )
    return [_record(row) for row in rows]


_BACKENDS = "SELECT pool, backend, address, lmtp, cluster FROM pool_backend ORDER BY backend"


def pools(reader: Reader) -> list[Pool]:
    """In order of their numbers: the first one has all accounts that were never given a pool."""
    backends: dict[int, list[PoolBackend]] = {}
    for number, *backend in reader.rows(_BACKENDS):
        backends.setdefault(number, []).append(PoolBackend(*backend))
    rows = reader.rows(
        "SELECT pool, name, kind, store, address, lmtp, open, free, created, generation FROM pool ORDER BY pool"
    )
    return [
        Pool(number, name, PoolKind(kind), store, address, lmtp, bool(open), free, created,
             tuple(backends.get(number, ())), generation)
        for number, name, kind, store, address, lmtp, open, free, created, generation in rows
    ]  # fmt: skip


def accounts_of_pools(reader: Reader) -> Counter[int]:
    """How many accounts each pool has, the built-in postmaster not counted. Looks at every account."""
    counts: Counter[int] = Counter()
    for pool, count in reader.rows(
        "SELECT p.pool, COUNT(*) FROM account_pool p JOIN account a ON a.account = p.account GROUP BY p.pool"
    ):
        counts[pool] = count
    first = reader.row("SELECT MIN(pool) FROM pool")
    if first is not None and first[0] is not None:
        counts[first[0]] += count_accounts(reader) - counts.total()
    return counts


def keepers(reader: Reader, number: int | None) -> list[AccountRecord]:
    """Who reads the mail of postmaster and abuse where no alias, group or account is set for it.

    The rule, whole: of a domain that is local to a pool its oldest active account, for all else may be away; else the
    active administrators of the site, the oldest eight; else the oldest active account of the domain; else the built-in
    account `postmaster`, which always exists.
    """
    oldest = [] if number is None else reader.rows(_ACCOUNT + _OLDEST, number)
    own = reader.row("SELECT local FROM domain WHERE domain = ?", number or SITE_DOMAIN)
    found = oldest if own is not None and own[0] else []
    if not found:
        found = reader.rows(
            _ACCOUNT + "WHERE a.admin = 1 AND a.state = 1 ORDER BY a.created, a.account LIMIT ?", ADMINISTRATOR_LIMIT
        )
    if not found:
        found = oldest or reader.rows(_ACCOUNT + "WHERE a.domain = ? AND a.local = ?", SITE_DOMAIN, POSTMASTER)
    return [_record(row) for row in found]


def last_login(reader: Reader, account: bytes) -> LastLogin | None:
    row = reader.row("SELECT at, protocol, address FROM login WHERE account = ?", account)
    return None if row is None else LastLogin(*row)


def credentials(reader: Reader, account: bytes) -> Credentials | None:
    head = reader.row("SELECT version, scram_salt, scram_iterations FROM account WHERE account = ?", account)
    if head is None:
        return None
    rows = reader.rows(
        "SELECT credential, kind, parent, label, data, created FROM credential WHERE account = ?"
        " ORDER BY kind, created, credential",
        account,
    )
    version, salt, iterations = head
    return Credentials(
        version,
        salt,
        iterations,
        tuple(Credential(i, CredentialKind(k), p, label, data, c) for i, k, p, label, data, c in rows),
    )


# --- aliases and groups ---------------------------------------------------------------------------------------------


def expansion(reader: Reader, expansion: bytes) -> Expansion | None:
    head = reader.row("SELECT kind, local, domain FROM expansion WHERE expansion = ?", expansion)
    if head is None:
        return None
    rows = reader.rows("SELECT local, domain, given FROM target WHERE expansion = ? ORDER BY position", expansion)
    targets = tuple((Address(local, name), str(Address(given, name))) for local, name, given in rows)
    return Expansion(_KINDS[head[0]], head[1], head[2], targets)


_EXPANSION = (
    "SELECT e.expansion, e.local, d.name, e.name, e.created FROM expansion e JOIN domain d ON d.domain = e.domain "
)


def _targets(reader: Reader, expansion: bytes) -> tuple[str, ...]:
    rows = reader.rows("SELECT given, domain FROM target WHERE expansion = ? ORDER BY position", expansion)
    return tuple(str(Address(given, domain)) for given, domain in rows)


def _alias(reader: Reader, row: Row) -> Alias:
    return Alias(f"{row[1]}@{row[2]}", _targets(reader, row[0]), row[4])


def _group(reader: Reader, row: Row) -> Group:
    return Group(f"{row[1]}@{row[2]}", row[3], _targets(reader, row[0]), row[4])


def alias(reader: Reader, expansion: bytes) -> Alias | None:
    row = reader.row(_EXPANSION + "WHERE e.expansion = ?", expansion)
    return None if row is None else _alias(reader, row)


def group(reader: Reader, expansion: bytes) -> Group | None:
    row = reader.row(_EXPANSION + "WHERE e.expansion = ?", expansion)
    return None if row is None else _group(reader, row)


_PAGE_OF = "WHERE e.kind = ? AND e.domain = ? AND e.local > ? ORDER BY e.local LIMIT ?"


def aliases(reader: Reader, number: int, after: str, limit: int) -> list[Alias]:
    rows = reader.rows(_EXPANSION + _PAGE_OF, Kind.ALIAS.value, number, after, limit)
    return [_alias(reader, row) for row in rows]


def groups(reader: Reader, number: int, after: str, limit: int) -> list[Group]:
    rows = reader.rows(_EXPANSION + _PAGE_OF, Kind.GROUP.value, number, after, limit)
    return [_group(reader, row) for row in rows]


# --- the change log -------------------------------------------------------------------------------------------------


def last_change(reader: Reader) -> int:
    row = reader.row("SELECT value FROM counter WHERE name = 'changes'")
    assert row is not None
    return int(row[0])


def changes(reader: Reader, after: int, limit: int) -> Iterator[Change]:
    rows = reader.rows(
        "SELECT number, kind, object, verb, at FROM change WHERE number > ? ORDER BY number LIMIT ?", after, limit
    )
    # What a newer release writes about is taken for a NAME, and makes everything stale.
    return (
        Change(number, _KINDS.get(kind, Kind.NAME), object, Verb(verb), at) for number, kind, object, verb, at in rows
    )
