"""What an open account needs of the store that it lives in."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol, TypeVar

from rookery.storage.append import Append
from rookery.storage.body_reader import BodyReader
from rookery.storage.derived import DerivedStore
from rookery.storage.engine import Reader
from rookery.storage.operations import Operation
from rookery.storage.values import Appended

if TYPE_CHECKING:
    from rookery.storage.open_account import OpenAccount

A = TypeVar("A")
R = TypeVar("R")
T = TypeVar("T")


class Home(Protocol):
    """What an open account needs of its store."""

    @property
    def remote(self) -> bool:
        """Whether a read may have to wait for another machine."""
        ...

    def read(self) -> AbstractContextManager[Reader]: ...

    async def away(self, work: Callable[[], T]) -> T: ...

    async def read_behind(self, work: Callable[[], T]) -> T:
        """As `away`; before it returns, every batch that had begun before the call is done with."""
        ...

    async def perform(self, operation: Operation[A, R], item: A, *, messages: int = 0) -> R: ...

    async def append(self, item: Append) -> Appended: ...

    @property
    def bodies(self) -> BodyReader: ...

    @property
    def derived(self) -> DerivedStore: ...

    def release_account(self, account: "OpenAccount") -> None: ...
