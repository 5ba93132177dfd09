"""Checked passwords, remembered by one more backend: after the death of a host its users come back all at once, and
none of them pays argon2 for it.

What is told is a digest under a key of who is to remember it, made anew whenever that process starts. Keys and
digests are in memory only, and go to backends only. The other is the account's first in rendezvous order, or its
second, so that whoever lacks a check knows whom to ask for it, also before the dead one is known to be dead.
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Sequence

from rookery.base.clock import Clock
from rookery.base.errors import Cause, RookeryError
from rookery.base.ids import AccountId
from rookery.base.members import Member
from rookery.distribution.auth.remembered import Remembered, digest_of
from rookery.distribution.service.away import Away
from rookery.distribution.service.calls import (
    Answer,
    AskKey,
    Checked,
    CheckKey,
    Host,
    KnowChecked,
    Nothing,
    Question,
    Verified,
    decode_answer,
)
from rookery.distribution.service.questions import Questions

TELLING = 1_000  # checks on their way at once; more are not told
KEYS = 256  # of other backends

# Has a backend asked. Raises RookeryError(UNAVAILABLE) when it does not answer soon.
Ask = Callable[[Host, Question], Awaitable[bytes]]


class Herd:
    """`others`: the other backends that may host an account, the one with most claim first. Raises RookeryError."""

    def __init__(
        self,
        remembered: Remembered,
        others: Callable[[AccountId], Awaitable[Sequence[Host]]],
        ask: Ask,
        clock: Clock,
    ) -> None:
        self._remembered = remembered
        self._others = others
        self._ask = ask
        self._keys: dict[str, bytes] = {}  # by address
        self._away: Away[str] = Away(clock)
        self._telling: set[asyncio.Task[None]] = set()

    # --- what this backend says ---

    async def knows(self, account: AccountId, version: int, password: bytes) -> bool:
        """Whether another one has seen this password be right, for this version of the account: the one with most claim
        to the account, which is told of it by all others; or the second, if that was the first itself.
        """
        try:
            order = await self._others(account)
        except RookeryError:
            return False
        for host in order[:2]:
            if await self._known_to(host, account, version, password):
                return True
        return False

    async def _known_to(self, host: Host, account: AccountId, version: int, password: bytes) -> bool:
        if self._away.away(host.address):
            return False
        try:
            answer = await self._asked(
                host, lambda key: KnowChecked(account, version, digest_of(key, account, password), _id(key))
            )
            return decode_answer(answer, Verified).known
        except RookeryError:
            return False

    def tell(self, account: AccountId, version: int, password: bytes) -> None:
        """It was right. The next one may never hear of it."""
        if len(self._telling) >= TELLING:
            return
        task = asyncio.create_task(self._tell(account, version, password))
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)

    async def _tell(self, account: AccountId, version: int, password: bytes) -> None:
        try:
            order = await self._others(account)
            host = next((host for host in order if not self._away.away(host.address)), None)
            if host is not None:
                await self._asked(
                    host, lambda key: Checked(account, version, digest_of(key, account, password), _id(key))
                )
        except RookeryError:
            return

    async def _asked(self, host: Host, question: Callable[[bytes], Question]) -> bytes:
        """With a digest under that backend's key, another one after each of its starts. Raises RookeryError."""
        try:
            for _ in range(2):
                key = self._keys.get(host.address) or await self._key_of(host)
                data = await self._ask(host, question(key))
                try:
                    decode_answer(data, Verified, Nothing)
                except RookeryError as error:
                    if error.cause is not Cause.CONFLICT:
                        raise
                    self._keys.pop(host.address, None)
                    continue
                self._away.answered(host.address)
                return data
            raise RookeryError(Cause.CONFLICT, "it changes its key again and again")
        except RookeryError:
            self._away.failed(host.address)
            raise

    async def _key_of(self, host: Host) -> bytes:
        key = decode_answer(await self._ask(host, AskKey()), CheckKey).key
        if len(self._keys) >= KEYS:
            self._keys.clear()
        self._keys[host.address] = key
        return key

    async def close(self) -> None:
        for task in self._telling:
            task.cancel()
        await asyncio.gather(*self._telling, return_exceptions=True)

    # --- what others say ---

    def take(self, questions: Questions) -> None:
        """Answer those that are ours: to backends only."""
        questions.take(AskKey, self._give_key, "checks")
        questions.take(Checked, self._checked, "checks")
        questions.take(KnowChecked, self._known, "checks")

    async def _give_key(self, caller: Member, question: AskKey) -> Answer:
        return CheckKey(self._remembered.key)

    async def _checked(self, caller: Member, question: Checked) -> Answer:
        self._need_key(question.key)
        self._remembered.remember(AccountId(question.account), question.version, question.digest)
        return Nothing()

    async def _known(self, caller: Member, question: KnowChecked) -> Answer:
        self._need_key(question.key)
        return Verified(self._remembered.knows(AccountId(question.account), question.version, question.digest))

    def _need_key(self, key: bytes) -> None:
        if key != _id(self._remembered.key):
            raise RookeryError(Cause.CONFLICT, "the key is a former one's")


def _id(key: bytes) -> bytes:
    return hashlib.blake2b(key, digest_size=16).digest()
