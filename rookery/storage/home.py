"""What an open account needs of the store that it lives in."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol, TypeVar

from rookery.base.ids import BlobId
from rookery.storage.append import Append
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

    async def perform(self, operation: Operation[A, R], item: A, *, messages: int = 0) -> R: ...

    async def append(self, item: Append) -> Appended: ...

    def blob(self, blob: BlobId, offset: int, length: int | None) -> bytes: ...

    def blobs_many(self, blobs: Sequence[BlobId]) -> list[bytes]: ...

    def blob_chunks(self, blob: BlobId, start: int = 0, stop: int | None = None) -> Iterator[bytes]: ...

    def derived_get(self, number: int, kind: str, emails: Collection[int]) -> dict[int, bytes]: ...

    def derived_put(self, number: int, kind: str, values: Mapping[int, bytes]) -> None: ...

    def release_account(self, account: "OpenAccount") -> None: ...
