"""What the writer remembers of accounts from batch to batch is what it would read."""

from typing import Any

import pytest

from rookery.base.errors import RookeryError
from rookery.base.numberset import NumberSet
from rookery.storage.counters import UNCOUNTED_LIMIT
from rookery.storage.engine import Transaction
from rookery.storage.fence import StoreBatching
from rookery.storage.store import Store
from rookery.storage.values import INBOX, Flag, FlagMode
from rookery.storage.verify import Trouble
from tests.storage.conftest import BOTH, Mail

pytestmark = BOTH


def _known(store: Store) -> Any:
    batching = store.writer._batching
    assert isinstance(batching, StoreBatching)
    return batching._known


async def _sound(store: Store) -> bool:
    report = await store.verify()
    return not [finding for finding in report.findings if finding.trouble is Trouble.COUNTER]


async def test_appends_are_counted_from_memory(store: Store, mail: Mail) -> None:
    for uid in range(1, 3 * UNCOUNTED_LIMIT):
        assert await mail.append() == uid
        row = _known(store)[mail.account]
        assert row.whole.messages == row.counters[INBOX].messages == uid
    assert await _sound(store)


async def test_another_mailbox_counts_what_went_before(store: Store, mail: Mail) -> None:
    other = mail.opened.mailbox("Drafts")
    assert other is not None
    for turn in range(1, UNCOUNTED_LIMIT):
        await mail.append()
        assert await mail.append(mailbox=other.number) == turn
    assert await _sound(store)


async def test_what_does_more_than_append_is_read_again(store: Store, mail: Mail) -> None:
    await mail.append()
    await mail.opened.set_flags(INBOX, NumberSet(((1, 1),)), FlagMode.ADD, int(Flag.SEEN))
    assert mail.account not in _known(store)
    assert await mail.append() == 2
    await mail.opened.expunge(INBOX, force=True)
    assert await mail.append() == 3
    assert await _sound(store)


async def test_upkeep_and_failures_forget_everything(store: Store, mail: Mail) -> None:
    await mail.append()
    assert _known(store)

    def nothing(tx: Transaction) -> None:
        return

    await store.exclusive(nothing)
    assert not _known(store)
    await mail.append()

    def broken(tx: Transaction) -> None:
        raise ValueError

    with pytest.raises(RookeryError):
        await store.exclusive(broken)
    assert not _known(store)
    assert await mail.append() == 3
    assert await _sound(store)


async def test_limits_hold_at_once(store: Store, mail: Mail) -> None:
    await mail.append()
    await store.set_limits(mail.account, 0, 1)
    with pytest.raises(RookeryError):
        await mail.append()
    await store.set_limits(mail.account, 0, 2)
    assert await mail.append() == 2
