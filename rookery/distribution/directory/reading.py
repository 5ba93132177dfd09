"""Where a look at the directory reads from: its database, one moment of it, or nowhere at all."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import TypeAlias

from rookery.storage.engine import Database, Reader

Reading: TypeAlias = Callable[[], AbstractContextManager[Reader]]


class NotInMemory(Exception):
    """It would have to be read from a server, by one who must not keep others waiting."""


def nowhere() -> AbstractContextManager[Reader]:
    raise NotInMemory


@contextmanager
def one_moment(database: Database) -> Iterator[Reading]:
    """All reads see the same, and a server is asked to begin and to end once."""
    with ExitStack() as held:
        readers: list[Reader] = []  # the one, once it is needed

        def reading() -> AbstractContextManager[Reader]:
            if not readers:
                readers.append(held.enter_context(database.read()))
            return nullcontext(readers[0])

        yield reading
