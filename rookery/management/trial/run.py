"""A cluster to try, in the foreground: DIR/<node>/ are the sites of its nodes, DIR/postgres/ the database."""

import fcntl
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path

from rookery.base import log
from rookery.base.errors import Cause, RookeryError
from rookery.management.supervisor import own_command, run_all
from rookery.management.trial.accounts import fill
from rookery.management.trial.advice import advice
from rookery.management.trial.layout import DYNAMIC, STATIC
from rookery.management.trial.making import Making, refuse_other
from rookery.management.trial.postgres import postgres

DRAIN = 15.0  # seconds; as drain.time of the sites, and a bit


def run(folder: Path, port_offset: int, program: str, *, static: bool = False) -> int:
    """Until SIGINT or SIGTERM. `program`: how the reader calls `rookery`. `static`: without PostgreSQL."""
    folder = folder.absolute()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    layout = STATIC if static else DYNAMIC
    refuse_other(folder, layout)
    with alone(folder), nullcontext("") if static else postgres(folder / "postgres") as database:
        making = Making(folder, layout, port_offset, database)
        making.found()
        passwords: dict[str, str] = {}

        def first() -> Mapping[str, Sequence[str]]:
            site = making.site(layout.first)
            if not layout.backends:
                return {layout.first.name: own_command(site)}
            return {name: own_command(site, name) for name in layout.backends}

        def others() -> Mapping[str, Sequence[str]]:
            making.join()
            return {node.name: own_command(making.site(node)) for node in layout.others}

        def users() -> Mapping[str, Sequence[str]]:
            passwords.update(fill(making))
            return {}

        def ready() -> None:
            sys.stdout.write(advice(making, passwords, program) + "\nready\n")
            sys.stdout.flush()

        try:
            run_all([first, others, users], DRAIN, ready)
        finally:
            log.flush()
    return 0


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Raises RookeryError while another process has this cluster."""
    held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise RookeryError(Cause.IN_USE, f"{folder} is a cluster that runs already") from error
    finally:
        os.close(held)
