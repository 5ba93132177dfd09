"""What of a directory is copied to its replicas: the rows of each object that the change log names.

An image is an object's rows as they are at one moment, none when it is gone. Names are not sent: each is that of an
account or an expansion, and made from those. Last logins and what is free in a pool are in no log and are not followed.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, TypeAlias

from rookery.distribution.directory.values import Change, Kind
from rookery.storage.engine import Reader, Row, Transaction

Key: TypeAlias = int | str | bytes
Keys: TypeAlias = Mapping[Kind, Collection[Key]]
Rows: TypeAlias = Sequence[Row]
Images: TypeAlias = dict[str, tuple[Sequence[str], list[Row]]]  # by table: names of the columns, and rows


class Table(NamedTuple):
    """`key`: the column that says whose row it is."""

    name: str
    key: str
    columns: tuple[str, ...]


def _table(name: str, key: str, columns: str) -> Table:
    return Table(name, key, tuple(columns.split()))


# The first table of each has one row for each object.
TABLES: Mapping[Kind, tuple[Table, ...]] = {
    Kind.DOMAIN: (
        _table("domain", "domain", "domain name created pool local"),
        _table("domain_name", "domain", "name domain"),
    ),
    Kind.POOL: (
        _table("pool", "pool", "pool name kind store address lmtp open created generation"),
        _table("pool_backend", "pool", "pool backend address lmtp cluster"),
    ),
    Kind.ACCOUNT: (
        _table(
            "account",
            "account",
            "account domain local state removed_until name size_limit message_limit admin created version scram_salt"
            " scram_iterations",
        ),
        _table("account_pool", "account", "account pool"),
        _table("credential", "account", "credential account kind parent label data created"),
    ),
    Kind.EXPANSION: (
        _table("expansion", "expansion", "expansion kind domain local name created"),
        _table("target", "expansion", "expansion position local domain given"),
    ),
    Kind.AUTHORITY: (_table("authority", "authority", "number authority certificate cross_certificate created"),),
    Kind.MEMBER: (
        _table("member", "name", "name roles joined revoked"),
        _table("join_token", "name", "name token hash roles created expires used_by"),
        _table("certificate", "name", "serial name authority key_id ends revoked"),
        _table("presence", "name", "name backend address release"),
    ),
}
ALL = tuple(table for tables in TABLES.values() for table in tables)
_CREDENTIAL, _ACCOUNT = "credential", "account"
_NAMED = {_ACCOUNT: Kind.ACCOUNT, "expansion": None}  # have a name; None: of the kind that a column says
LOCAL = "local-"  # keys in `site` that begin so are this node's own


class Served(NamedTuple):
    """Pools whose accounts' credentials a replica is given; `first`: which has the accounts without a row."""

    pools: frozenset[int]
    first: int


def served(reader: Reader, store: str) -> Served:
    """By that store."""
    rows = reader.rows("SELECT pool, store FROM pool ORDER BY pool")
    return Served(frozenset(pool for pool, its in rows if store and its == store), rows[0][0] if rows else 0)


def keys_of(changes: Iterable[Change]) -> dict[Kind, dict[Key, None]]:
    """The objects that they name."""
    keys: dict[Kind, dict[Key, None]] = defaultdict(dict)
    for change in changes:
        kind = Kind.ACCOUNT if change.kind is Kind.CREDENTIAL else change.kind
        if kind in (Kind.ACCOUNT, Kind.EXPANSION, Kind.AUTHORITY):
            keys[kind][bytes.fromhex(change.object)] = None
        elif kind in (Kind.DOMAIN, Kind.POOL):
            keys[kind][int(change.object)] = None
        elif kind is Kind.MEMBER:
            keys[kind][change.object] = None
    return keys


# --- at the primary -------------------------------------------------------------------------------------------------


def images(reader: Reader, keys: Keys, share: Served | None) -> Images:
    """Of these objects; with the credentials of all accounts, or those of the pools of `share` alone."""
    found: Images = {}
    for kind, wanted in keys.items():
        values = [(key,) for key in wanted]
        for table in TABLES[kind]:
            found[table.name] = (table.columns, reader.select_many(table.name, table.columns, (table.key,), values))
    if share is not None and _ACCOUNT in found:
        _withhold(found, share)
    return found


def _withhold(found: Images, share: Served) -> None:
    pools: dict[bytes, int] = dict(found["account_pool"][1])
    ours = {row[0] for row in found[_ACCOUNT][1] if pools.get(row[0], share.first) in share.pools}
    columns, rows = found[_ACCOUNT]
    found[_ACCOUNT] = (columns, [row if row[0] in ours else (*row[:-2], b"", 0) for row in rows])
    columns, rows = found[_CREDENTIAL]
    found[_CREDENTIAL] = (columns, [row for row in rows if row[1] in ours])


def page(reader: Reader, kind: Kind, after: Key | None, limit: int) -> list[Key]:
    """The keys of the next objects of that kind, in order."""
    head = TABLES[kind][0]
    name, key = head.name, head.key
    if kind is Kind.MEMBER:  # who was only invited has no row there
        name = "(SELECT name FROM member UNION SELECT name FROM join_token) AS known"
    if after is None:
        rows = reader.rows(f"SELECT {key} FROM {name} ORDER BY {key} LIMIT ?", limit)
    else:
        rows = reader.rows(f"SELECT {key} FROM {name} WHERE {key} > ? ORDER BY {key} LIMIT ?", after, limit)
    return [row[0] for row in rows]


def size(found: Images) -> int:
    """About how many octets they are."""
    return sum(
        10 * len(row) + sum(len(value) for value in row if isinstance(value, str | bytes))
        for _, rows in found.values()
        for row in rows
    )


def merge(found: Images, keys: Keys, more: Images) -> None:
    """Add `more`, which are later images of `keys`."""
    for kind, wanted in keys.items():
        for table in TABLES[kind]:
            columns, rows = more.get(table.name, (table.columns, []))
            if table.name in found:
                before = found[table.name][0]
                at = list(before).index(table.key)
                rows = [row for row in found[table.name][1] if row[at] not in wanted] + list(rows)
            found[table.name] = (columns, rows)


# --- at the replica -------------------------------------------------------------------------------------------------


def put(tx: Transaction, keys: Keys, found: Images) -> None:
    """These objects are as in `found` from now on, and those of which nothing is there are gone.

    Raises KeyExists when two have the same name, which cannot be if all that the log names is there.
    """
    _drop(tx, keys)
    for table, columns, rows in _known(found):
        tx.insert_many(table.name, columns, rows)
    for kind in keys:
        head = TABLES[kind][0]
        if head.name in _NAMED and head.name in found:
            tx.insert_many("name", ("domain", "local", "kind", "object"), _names(head, *found[head.name]))


def put_in_copy(tx: Transaction, keys: Keys, found: Images) -> None:
    """As `put`, without names, where all is not there yet: who has a name that another had is right, and the other is
    named by the log."""
    _drop(tx, keys)
    for table, columns, rows in _known(found):
        statement = f"INSERT OR REPLACE INTO {table.name} ({','.join(columns)}) VALUES ({','.join('?' * len(columns))})"
        for row in rows:
            tx.run(statement, *row)


def _drop(tx: Transaction, keys: Keys) -> None:
    for kind, wanted in keys.items():
        values = [(key,) for key in wanted]
        head = TABLES[kind][0]
        if head.name in _NAMED:
            old = tx.select_many(head.name, ("domain", "local"), (head.key,), values)
            tx.delete_many("name", ("domain", "local"), old)
        for table in TABLES[kind]:
            tx.delete_many(table.name, (table.key,), values)


def _known(found: Images) -> Iterator[tuple[Table, Sequence[str], Sequence[Row]]]:
    """Without tables and columns that only a newer release has."""
    for table in ALL:
        if table.name in found:
            columns, rows = found[table.name]
            if tuple(columns) != table.columns:
                at = [n for n, column in enumerate(columns) if column in table.columns]
                columns, rows = [columns[n] for n in at], [tuple(row[n] for n in at) for row in rows]
            yield table, columns, rows


def _names(head: Table, columns: Sequence[str], rows: Sequence[Row]) -> list[Row]:
    at = {column: n for n, column in enumerate(columns)}
    kind = _NAMED[head.name]
    return [
        (row[at["domain"]], row[at["local"]], row[at["kind"]] if kind is None else kind.value, row[at[head.key]])
        for row in rows
    ]


def take_over(source: str) -> list[str]:
    """Statements that replace everything but last logins by what a database has that is attached as `source`."""
    made = []
    for table in ALL:
        columns = ",".join(table.columns)
        made += [
            f"DELETE FROM main.{table.name}",
            f"INSERT INTO main.{table.name} ({columns}) SELECT {columns} FROM {source}.{table.name}",
        ]
    name = "INSERT INTO main.name (domain, local, kind, object) SELECT domain, local,"
    made += [
        "DELETE FROM main.name",
        f"{name} {Kind.ACCOUNT.value}, account FROM main.account",
        f"{name} kind, expansion FROM main.expansion",
        "DELETE FROM main.login WHERE account NOT IN (SELECT account FROM main.account)",
        "DELETE FROM main.change",
        f"INSERT INTO main.change SELECT * FROM {source}.change",
        f"UPDATE main.counter SET value = (SELECT value FROM {source}.counter WHERE name = 'changes')"
        " WHERE name = 'changes'",
        "DELETE FROM main.site",
        f"INSERT INTO main.site SELECT * FROM {source}.site",
    ]
    return made
