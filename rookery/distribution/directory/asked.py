"""The directory as others have it: `Asked[Recipients]` answers the questions of that protocol, which are theirs."""

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

View_co = TypeVar("View_co", covariant=True)
T = TypeVar("T")


class Asked(Protocol[View_co]):
    def ask(self, look: Callable[[View_co], T]) -> T | Awaitable[T]:
        """What `look` finds; to be waited for only when it is not in memory, and the database is on a server."""
        ...
