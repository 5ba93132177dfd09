"""The primary of the directory, wherever it is now: whichever of the named nodes does not say that it is another."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from rookery.base.errors import Cause, RookeryError
from rookery.distribution.service.calls import Question, decode_answer, encode

Address = TypeVar("Address")
T = TypeVar("T")

Ask = Callable[[bytes], Awaitable[bytes]]


class NamedPrimary(Generic[Address]):
    """`reach` finds a way to an address; it raises RookeryError when there is none, and nothing was asked. Whoever was
    the primary last is asked first."""

    def __init__(self, addresses: Sequence[Address], reach: Callable[[Address], Awaitable[Ask]]) -> None:
        self._addresses = list(addresses)
        self._reach = reach

    @property
    def addresses(self) -> Sequence[Address]:
        return tuple(self._addresses)

    def turn(self) -> None:
        self._addresses.append(self._addresses.pop(0))

    def know(self, addresses: Sequence[Address]) -> None:
        """Those too, after the others."""
        self._addresses += [one for one in addresses if one not in self._addresses]

    def prefer(self, address: Address) -> None:
        self._addresses.remove(address)
        self._addresses.insert(0, address)

    async def ask(self, question: Question, kind: type[T], *, once: bool = False) -> T:
        """Raises RookeryError: what the primary refused with, or UNAVAILABLE naming who did not answer. `once`: nobody
        else is asked once somebody may have done it."""
        failures: list[str] = []
        for address in list(self._addresses):
            try:
                ask = await self._reach(address)
            except RookeryError as error:
                failures.append(f"{address}: {error.what or error.cause.value}")
                continue
            try:
                answer = decode_answer(await ask(encode(question)), kind)
            except RookeryError as error:
                if error.cause is not Cause.MOVED and (once or not error.cause.temporary):
                    raise
                failures.append(f"{address}: {error.what or error.cause.value}")
                continue
            if self._addresses[0] != address:
                self.prefer(address)
            return answer
        found = "; ".join(failures) or "cluster.directory names no node"
        raise RookeryError(Cause.UNAVAILABLE, f"the primary of the directory does not answer ({found})")
