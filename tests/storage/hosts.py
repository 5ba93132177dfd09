"""Backends of one shared store, each with its own idea of what it hosts; the claim is one statement."""

import traceback
from collections.abc import Collection
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from rookery.base.clock import ManualClock
from rookery.base.ids import AccountId, RandomBytes
from rookery.storage.elsewhere import Elsewhere
from rookery.storage.engine import Reader
from rookery.storage.hosting import SHARED_MIGRATIONS
from rookery.storage.postgres import PostgresDatabase
from rookery.storage.postgres_pool import on_loop
from rookery.storage.shared import parts_on
from rookery.storage.store import Store
from tests.postgres import Postgres

BOTH = pytest.mark.parametrize("kind", ["embedded", pytest.param("shared", marks=pytest.mark.postgres)], indirect=True)


@pytest.fixture
def kind(request: pytest.FixtureRequest) -> str:
    """Of store: embedded, or where a test is marked with BOTH, shared too."""
    return str(getattr(request, "param", "embedded"))


def reads_on_the_loop(store: Store) -> list[str]:
    """Whoever keeps the event loop waiting for the database from now on is named here."""
    found: list[str] = []
    read = store.database.read

    def watched() -> AbstractContextManager[Reader]:
        if on_loop():
            found.append("".join(traceback.format_stack()))
        return read()

    store.database.read = watched  # type: ignore[method-assign]
    return found


class Host:
    """Implements fence.Hosting. `told`: what the fence said, in order. `uri`: another way to the server."""

    def __init__(self, database: Postgres, name: str, uri: str = "") -> None:
        self._database = database
        self._name = name
        self._uri = uri or database.uri
        self.epochs: dict[AccountId, int] = {}
        self.told: list[tuple[str, object]] = []
        self.store: Store | None = None

    async def open(
        self,
        folder: Path,
        *,
        clock: ManualClock,
        random: RandomBytes,
        bodies: Elsewhere | None = None,
        **facts: Any,
    ) -> Store:
        database = PostgresDatabase(
            self._uri, SHARED_MIGRATIONS, self._database.schema, application=f"rookery {self._name}", clock=clock,
            pause=clock.advance,
        )  # fmt: skip
        parts = parts_on(database, folder, random, bodies=bodies)
        store = self.store = Store(parts, hosting=self, clock=clock, random=random, **facts)
        create = store.create_account

        async def create_and_claim(account: AccountId, **more: Any) -> None:
            await create(account, **more)
            if account not in self.epochs:
                self.claim(account)

        store.create_account = create_and_claim  # type: ignore[method-assign]
        return store

    def claim(self, account: AccountId) -> None:
        """Whoever had it before."""
        schema = self._database.schema
        [(epoch,)] = self._database.run(
            f"UPDATE {schema}.account SET epoch = nextval('{schema}.epoch'), opened_under = {schema}.timeline()"
            " WHERE id = %s RETURNING epoch",
            account,
        )
        assert isinstance(epoch, int)
        self.epochs[account] = epoch

    # --- Hosting ---

    def epoch(self, account: AccountId) -> int | None:
        return self.epochs.get(account)

    def fenced(self, accounts: Collection[AccountId]) -> None:
        self._drop("fenced", accounts)

    def doubtful(self, accounts: Collection[AccountId]) -> None:
        self._drop("doubtful", accounts)

    def moved_on(self, timeline: str) -> None:
        self.told.append(("moved-on", timeline))
        self.epochs.clear()
        assert self.store is not None
        self.store.drop_all()

    def _drop(self, word: str, accounts: Collection[AccountId]) -> None:
        assert self.store is not None
        self.told.append((word, set(accounts)))
        for account in accounts:
            self.epochs.pop(account, None)
            self.store.drop_account(account)
