"""What has come from the primary, written into a copy: pages of it all, and what has changed since."""

from pathlib import Path

import msgspec

from rookery.distribution.directory import objects, reads, standing
from rookery.distribution.directory.objects import Images
from rookery.distribution.directory.rules import CHANGES_KEPT
from rookery.distribution.directory.standing import CopyState
from rookery.distribution.directory.values import Change, Kind, Verb
from rookery.distribution.service.calls import Copied, Followed
from rookery.storage.engine import Transaction
from rookery.storage.sqlite import SqliteDatabase

Log = list[tuple[int, int, str, int, int]]  # rows of the change log


def changes_of(rows: Log) -> list[Change]:
    """What a newer release writes about is taken for a NAME, and makes everything stale."""
    kinds = {kind.value: kind for kind in Kind}
    return [
        Change(number, kinds.get(kind, Kind.NAME), object, Verb(verb), at) for number, kind, object, verb, at in rows
    ]


def images_of(answer: Followed | Copied) -> Images:
    return {table.name: (table.columns, table.rows) for table in answer.tables}


def merge(images: Images, answer: Followed) -> None:
    objects.merge(images, objects.keys_of(changes_of(answer.changes)), images_of(answer))


def put_log(tx: Transaction, changes: Log, number: int) -> None:
    tx.insert_many("change", ("number", "kind", "object", "verb", "at"), changes)
    tx.run("DELETE FROM change WHERE number <= ?", number - CHANGES_KEPT)
    tx.run("UPDATE counter SET value = ? WHERE name = 'changes'", number)


def put_page(copy: SqliteDatabase, page: Copied) -> None:
    with copy.write() as tx:
        objects.put_in_copy(tx, {}, images_of(page))
        if page.changes:
            put_log(tx, page.changes, page.last)


def put_batch(copy: SqliteDatabase, answer: Followed, state: CopyState) -> None:
    with copy.write() as tx:
        objects.put_in_copy(tx, objects.keys_of(changes_of(answer.changes)), images_of(answer))
        if answer.changes:
            put_log(tx, answer.changes, answer.changes[-1][0])
        for key, value in answer.site.items():
            standing.put(tx, key, value)
        standing.put(tx, standing.COPY, msgspec.msgpack.encode(state))


def have_accounts(tx: Transaction, pools: frozenset[int]) -> bool:
    counts = reads.accounts_of_pools(tx)
    return any(counts[pool] for pool in pools)


def remove(path: Path) -> None:
    for tail in ("", "-wal", "-shm"):
        path.with_name(path.name + tail).unlink(missing_ok=True)
