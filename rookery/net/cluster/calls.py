"""The calls of a link: ours that wait for an answer, and the peer's that are being answered."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

from rookery.base.errors import Cause, Refusal, RookeryError
from rookery.base.log import logger
from rookery.wire.cluster.engine import Engine
from rookery.wire.cluster.events import Answered, Called, GivenUp, Refused

GIVEN_UP = Refusal(Cause.UNAVAILABLE, "given up")
FAILED = Refusal(Cause.UNAVAILABLE, "serving it failed")

log = logger("cluster")


class Calls:
    """`serve` answers the peer, or raises RookeryError. `soon` is called when the engine has something to send, `room`
    waits until the socket takes more.
    """

    __slots__ = ("_answering", "_engine", "_loop", "_ours", "_room", "_serve", "_soon")

    def __init__(
        self,
        engine: Engine,
        serve: Callable[[bytes], Awaitable[bytes]],
        soon: Callable[[], None],
        room: Callable[[], Awaitable[None]],
    ) -> None:
        self._engine = engine
        self._serve = serve
        self._soon = soon
        self._room = room
        self._loop = asyncio.get_running_loop()
        self._ours: dict[int, asyncio.Future[bytes]] = {}
        self._answering: dict[int, asyncio.Task[None]] = {}

    async def call(self, payload: bytes, timeout: float) -> bytes:
        """Ask, and wait `timeout` seconds for the answer. Raises RookeryError: the peer's, or UNAVAILABLE."""
        number = 0
        try:
            async with asyncio.timeout(timeout):
                await self._room()
                number = self._engine.call(payload)
                answer: asyncio.Future[bytes] = self._loop.create_future()
                self._ours[number] = answer
                self._soon()
                return await answer
        except TimeoutError:
            raise RookeryError(Cause.UNAVAILABLE, f"no answer in {timeout:g} s") from None
        finally:
            if self._ours.pop(number, None) is not None:
                self._engine.reset(number, GIVEN_UP)
                self._soon()

    def answered(self, event: Answered) -> None:
        answer = self._ours.pop(event.call, None)
        if answer is not None and not answer.done():
            answer.set_result(event.payload)

    def refused(self, event: Refused) -> None:
        answer = self._ours.pop(event.call, None)
        if answer is not None and not answer.done():
            answer.set_exception(RookeryError(event.refusal.cause, event.refusal.what))

    def called(self, event: Called) -> None:
        task = self._answering[event.call] = self._loop.create_task(self._answer(event.call, event.payload))
        task.add_done_callback(partial(self._done, event.call))

    def given_up(self, event: GivenUp) -> None:
        """The peer no longer wants that answer."""
        task = self._answering.get(event.call)
        if task is not None:
            task.cancel()

    def lost(self, refusal: Refusal) -> None:
        """Nobody answers any more, and nobody waits for our answers."""
        ours, self._ours = self._ours, {}
        for answer in ours.values():
            if not answer.done():
                answer.set_exception(RookeryError(Cause.UNAVAILABLE, refusal.what))
        for task in list(self._answering.values()):
            task.cancel()

    async def _answer(self, number: int, payload: bytes) -> None:
        try:
            answer = await self._serve(payload)
            await self._room()
            self._engine.answer(number, answer)
        except RookeryError as error:
            self._engine.reset(number, error.refusal)
        self._soon()

    def _done(self, number: int, task: asyncio.Task[None]) -> None:
        self._answering.pop(number, None)
        if task.cancelled():
            return
        error = task.exception()
        if error is not None:
            log.error("call-failed", error=f"{type(error).__name__}: {error}")
            self._engine.reset(number, FAILED)
            self._soon()
