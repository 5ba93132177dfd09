"""A copy of a store's folder takes its place: numbers go on higher, and the folder says so."""

import shutil
from pathlib import Path

from rookery.base.ids import AccountId
from rookery.storage.append import Append
from rookery.storage.jump import UIDS
from rookery.storage.promotion import jump_all, promote
from tests.storage.conftest import Opener, staged

ACCOUNT = AccountId(b"\x01" * 16)


async def test_a_copy_uses_no_number_again(open_store: Opener, tmp_path: Path) -> None:
    store = await open_store(tmp_path / "store")
    await store.create_account(ACCOUNT)
    first = await store.append(Append(ACCOUNT, staged(store, b"one")))
    await store.close()
    shutil.copytree(tmp_path / "store", tmp_path / "copy")
    store = await open_store(tmp_path / "store")
    lost = await store.append(Append(ACCOUNT, staged(store, b"seen, and not in the copy")))

    copy = await open_store(tmp_path / "copy")
    assert jump_all(copy.database) == 1
    promoted = promote(copy.folder, copy.identity, 2)
    await copy.close()
    copy = await open_store(tmp_path / "copy")
    assert copy.identity == promoted
    assert (promoted.store, promoted.generation) == (store.identity.store, 2)
    following = await copy.append(Append(ACCOUNT, staged(copy, b"two")))
    assert following.uid == first.uid + 1 + UIDS > lost.uid
    assert following.uidvalidity == first.uidvalidity
    assert following.modseq > lost.modseq
    assert (await copy.verify()).findings == []
