"""The directory as a mail exchanger at the perimeter has it for its own queue: by asking for one address at a time.

Every address of a domain of ours goes inward, whether it exists or not: what becomes of it is decided there. So this
node never relays, and keeps nothing of the directory but answers to what it was asked.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from itertools import islice
from typing import TypeVar

from rookery.base.errors import RookeryError
from rookery.base.ids import AccountId
from rookery.distribution.directory.resolve import Known
from rookery.distribution.directory.values import NotLocal, Resolution, Resolved, Target
from rookery.distribution.service.calls import Verdict
from rookery.distribution.service.known import KnownDirectory

AT_ONCE = 32  # questions
NOBODY = AccountId(bytes(16))

T = TypeVar("T")


class View:
    """What is known at one moment. `missing`: what somebody wanted to know beside; the answer to that is a guess."""

    def __init__(self, remembered: Callable[[str], Verdict | None], told: Mapping[str, Verdict | RookeryError]) -> None:
        self._remembered = remembered
        self._told = told
        self.missing: dict[str, None] = {}

    def known(self, address: str) -> Known:
        """Raises RookeryError when the directory could not be asked."""
        verdict = self._verdict(address)
        if verdict is None or verdict.exists:
            return Known.LOCAL
        return Known.UNKNOWN if verdict.local else Known.NOT_LOCAL

    def resolve(self, address: str) -> Resolution:
        """Raises RookeryError when the directory could not be asked."""
        verdict = self._verdict(address)
        if verdict is None or verdict.local:
            return Resolved((Target(NOBODY, address),))
        return NotLocal(address.rpartition("@")[2])

    def _verdict(self, address: str) -> Verdict | None:
        found = self._told.get(address) or self._remembered(address)
        if isinstance(found, RookeryError):
            raise found
        if found is None:
            self.missing[address] = None
        return found


class Outskirts:
    """Implements Asked."""

    def __init__(self, directory: KnownDirectory) -> None:
        self._directory = directory

    def ask(self, look: Callable[[View], T]) -> T | Awaitable[T]:
        """`look` may be called twice: when all that it wants to know is known."""
        view = View(self._directory.remembered, {})
        found = look(view)
        return self._asked(look, view.missing) if view.missing else found

    async def find(self, look: Callable[[View], T]) -> T:
        found = self.ask(look)
        return await found if isinstance(found, Awaitable) else found

    async def _asked(self, look: Callable[[View], T], missing: Iterable[str]) -> T:
        told: dict[str, Verdict | RookeryError] = {}
        waiting = iter(missing)
        while addresses := list(islice(waiting, AT_ONCE)):
            answers = await asyncio.gather(*(self._one(address) for address in addresses))
            told.update(zip(addresses, answers, strict=True))
        return look(View(self._directory.remembered, told))

    async def _one(self, address: str) -> Verdict | RookeryError:
        try:
            return await self._directory.recipient(address)
        except RookeryError as error:
            return error
