"""The engines on which each contract is tried: SQLite, and PostgreSQL where its binaries can be had."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rookery.storage.engine import Database
from rookery.storage.sqlite import SqliteDatabase
from tests import postgres as server
from tests.postgres import Postgres

postgres, fresh_postgres, wire = server.postgres, server.fresh_postgres, server.wire

Engine = Callable[..., Database]


@pytest.fixture
def postgres_engine(fresh_postgres: Postgres) -> Iterator[Engine]:
    """Opens this test's PostgreSQL schema with these migrations."""
    opened: list[Database] = []

    def engine(migrations: object, **facts: object) -> Database:
        opened.append(fresh_postgres.open(migrations, **facts))  # type: ignore[arg-type]
        return opened[-1]

    yield engine
    for database in opened:
        database.close()


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """Opens this test's database, empty at first, with these migrations."""
    if request.param == "postgres":
        yield request.getfixturevalue("postgres_engine")
        return
    opened: list[Database] = []

    def sqlite(migrations: object) -> Database:
        opened.append(SqliteDatabase(tmp_path / "contract.db", migrations))  # type: ignore[arg-type]
        return opened[-1]

    yield sqlite
    for database in opened:
        database.close()
