"""A host waits for commands under way before it gives an account away, and not for ever."""

import asyncio

import pytest

from rookery.access import underway
from rookery.access.underway import UnderWay
from rookery.base.ids import new_account_id


async def test_nothing_is_waited_for() -> None:
    await UnderWay().ended(new_account_id())


async def test_the_last_command_ends_the_wait() -> None:
    made, account, other = UnderWay(), new_account_id(), new_account_id()
    made.begin(account)
    made.begin(other)
    with made.of(account):
        waiting = asyncio.create_task(made.ended(account))
        await asyncio.sleep(0)
    assert not waiting.done()
    made.end(account)
    await waiting


async def test_a_long_one_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(underway, "PATIENCE", 0.0)
    made, account = UnderWay(), new_account_id()
    with made.of(account):
        await made.ended(account)
