"""A thread for calls that block, one after another; the loop waits for each as for anything else."""

import asyncio
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import TypeVar

T = TypeVar("T")


class Worker:
    """A daemon: a call that never returns, for the server is frozen, does not keep the process from ending."""

    def __init__(self, name: str) -> None:
        self._waiting: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        threading.Thread(target=self._work, name=name, daemon=True).start()

    def run(self, work: Callable[[], T]) -> asyncio.Future[T]:
        """After what was asked for before. Who is cancelled does not hear what became of it; it is done anyway."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()

        def answer(error: BaseException | None, result: list[T]) -> None:
            if future.cancelled():
                return
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(result[0])

        def carry_out() -> None:
            failed: BaseException | None = None
            result: list[T] = []
            try:
                result.append(work())
            except BaseException as error:  # noqa: BLE001  it is the waiting caller's
                failed = error
            try:
                loop.call_soon_threadsafe(answer, failed, result)
            except RuntimeError:  # the loop has ended; nobody is waiting
                return

        self._waiting.put(carry_out)
        return future

    def last(self, work: Callable[[], None]) -> None:
        """After what is waiting, do this and end. Nobody waits for it."""
        self._waiting.put(work)
        self._waiting.put(None)

    def _work(self) -> None:
        while (work := self._waiting.get()) is not None:
            work()
