"""The store of every earlier version opens and holds what it held; a newer one is refused by name."""

import tarfile
from pathlib import Path

import apsw
import pytest

from rookery.base.errors import Cause, RookeryError
from rookery.base.ids import AccountId
from rookery.base.numberset import NumberSet
from rookery.storage.append import Append
from rookery.storage.schema import MIGRATIONS
from rookery.storage.values import Kind, Verb
from tests.storage.conftest import Opener, staged

FIXTURES = Path(__file__).parent.parent / "fixtures"
ACCOUNT = AccountId(b"\x01" * 16)
N = NumberSet.parse


def unpack(version: int, folder: Path) -> Path:
    with tarfile.open(FIXTURES / f"store-{version}.tar.gz") as archive:
        archive.extractall(folder, filter="data")
    return folder / "store"


@pytest.mark.parametrize("version", [step.version for step in MIGRATIONS])
async def test_a_store_of_each_version_opens(open_store: Opener, tmp_path: Path, version: int) -> None:
    store = await open_store(unpack(version, tmp_path))
    assert (await store.verify()).findings == []
    opened = await store.open_account(ACCOUNT)
    held = opened.presences(1, N("1:100"))
    assert [p.uid for p in held] == [1, 2, 3, 4]
    assert [opened.keyword_names(p.flags) for p in held] == [[], ["$Forwarded"], ["$Forwarded"], []]
    assert opened.body(held[2]).endswith(b"Body 3.\r\n")
    project = opened.mailbox("Projects/2026")
    assert project is not None
    assert (project.messages, project.uidnext, project.subscribed) == (2, 3, True)
    assert (opened.usage().size_limit, opened.usage().message_limit) == (10_000_000, 1000)
    last = opened.changes(opened.modseq - 3)
    assert (Kind.MESSAGE, Verb.DESTROYED, "5") in [(c.kind, c.verb, str(c.uids)) for c in last]
    again = await store.append(Append(ACCOUNT, staged(store, b"again"), delivery_id="00000003/alice@example.test"))
    assert (again.duplicate, again.uid) == (True, 3)
    assert (await store.append(Append(ACCOUNT, staged(store, b"new")))).uid == 6


async def test_a_newer_store_is_refused_by_name(open_store: Opener, tmp_path: Path) -> None:
    folder = unpack(1, tmp_path)
    connection = apsw.Connection(str(folder / "index.db"))
    [(table,)] = connection.execute("SELECT name FROM sqlite_schema WHERE name LIKE '%schema%' AND type = 'table'")
    connection.execute(f"UPDATE {table} SET version = 999, oldest_release = '77.0.0'")
    connection.close()
    with pytest.raises(RookeryError) as caught:
        await open_store(folder)
    assert caught.value.cause is Cause.UNSUPPORTED
    assert "77.0.0" in caught.value.what


async def test_one_process_at_a_time(open_store: Opener) -> None:
    await open_store()
    with pytest.raises(RookeryError) as caught:
        await open_store()
    assert caught.value.cause is Cause.IN_USE
