"""Long work: one account's does not hold up another's."""

import asyncio
import threading

from rookery.access.imap.aside import THREADS, aside
from rookery.base.ids import AccountId

BUSY, QUIET = AccountId(b"a" * 16), AccountId(b"b" * 16)


async def test_each_account_has_one_thread_at_a_time() -> None:
    go = threading.Event()
    done: list[int] = []

    def work(number: int) -> None:
        go.wait(20)
        done.append(number)

    waiting = [asyncio.create_task(aside(BUSY, lambda number=number: work(number))) for number in range(3 * THREADS)]
    await asyncio.sleep(0)
    assert await aside(QUIET, lambda: list(done)) == []
    go.set()
    await asyncio.gather(*waiting)
    assert done == list(range(3 * THREADS)), "in order"


async def test_who_gives_up_leaves_the_turn_to_the_next() -> None:
    tasks = [asyncio.create_task(aside(BUSY, lambda: 1)) for _ in range(3)]
    await asyncio.sleep(0)
    tasks[1].cancel()
    assert await tasks[2] == 1
