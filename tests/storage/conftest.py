"""Stores in temporary folders, where a test is marked with BOTH on PostgreSQL too, with a clock that the test holds."""

from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from rookery.base.clock import ManualClock
from rookery.base.ids import AccountId, system_random
from rookery.storage.gate import Gate
from rookery.storage.open_account import OpenAccount
from rookery.storage.staging import Staged
from rookery.storage.store import Store, StoreSettings
from tests import postgres as server
from tests.postgres import Postgres
from tests.storage.hosts import BOTH, Host, kind
from tests.storage.world import account_id

postgres, fresh_postgres, wire = server.postgres, server.fresh_postgres, server.wire

__all__ = ["BOTH", "kind"]

SMALL = StoreSettings(ballast=1 << 20)
Opener = Callable[..., Coroutine[Any, Any, Store]]


def staged(store: Store, body: bytes) -> Staged:
    staging = store.stage()
    staging.write(body)
    return staging.finish()


class Mail:
    """One account of one store, with short words for what tests do all the time."""

    def __init__(self, store: Store, account: AccountId, opened: OpenAccount) -> None:
        self.store = store
        self.account = account
        self.opened = opened

    async def append(self, body: bytes = b"Subject: x\r\n\r\n", mailbox: int = 1, **more: Any) -> int:
        body_staged = staged(self.store, body)
        made = await self.opened.append(mailbox, body_staged, **more)
        body_staged.release()
        return made.uid

    async def fill(self, count: int, mailbox: int = 1, body: bytes = b"Subject: x\r\n\r\n") -> None:
        for _ in range(count):
            await self.append(body, mailbox)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def open_store(
    tmp_path: Path, clock: ManualClock, kind: str, request: pytest.FixtureRequest
) -> AsyncIterator[Opener]:
    """Opens `tmp_path/store`; closes whatever is open at the end. A shared one hosts every account that it makes."""
    opened: list[Store] = []

    async def make(folder: Path = tmp_path / "store", settings: StoreSettings = SMALL, **more: Any) -> Store:
        facts: dict[str, Any] = {"clock": clock, "random": system_random, "gate": Gate(), "settings": settings, **more}
        if kind == "shared":
            database: Postgres = request.getfixturevalue("fresh_postgres")
            store = await Host(database, folder.name).open(folder, **facts)
        else:
            store = await Store.open(folder, **facts)
        close = store.close

        async def once() -> None:
            if store in opened:
                opened.remove(store)
                await close()

        store.close = once  # type: ignore[method-assign]
        opened.append(store)
        return store

    yield make
    for store in list(opened):
        await store.close()


@pytest.fixture
async def store(open_store: Opener) -> Store:
    return await open_store()


@pytest.fixture
async def mail(store: Store) -> Mail:
    account = account_id(1)
    await store.create_account(account)
    return Mail(store, account, await store.open_account(account))
