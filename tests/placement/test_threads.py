"""Blocking calls on threads of their own, and with them everything together in real time."""

import asyncio
import threading
import time

import pytest

from rookery.distribution.placement.heartbeat import Surroundings
from rookery.distribution.placement.placement import Placement
from rookery.distribution.placement.values import Elsewhere, Here
from rookery.distribution.placement.worker import Worker
from tests.placement.conftest import PostgresPlace


class TestWorker:
    async def test_calls_are_made_in_order_on_its_thread(self) -> None:
        worker, made = Worker("test"), list[tuple[int, str]]()

        def work(number: int) -> int:
            made.append((number, threading.current_thread().name))
            return number * 2

        doubled = await asyncio.gather(*(worker.run(lambda n=n: work(n)) for n in range(5)))  # type: ignore[misc]
        assert doubled == [0, 2, 4, 6, 8]
        assert made == [(n, "test") for n in range(5)]
        worker.last(lambda: None)

    async def test_what_a_call_raises_is_the_callers(self) -> None:
        worker = Worker("test")
        with pytest.raises(ZeroDivisionError):
            await worker.run(lambda: 1 // 0)
        assert await worker.run(lambda: 1) == 1
        worker.last(lambda: None)

    async def test_a_call_that_hangs_keeps_neither_the_loop_nor_the_process(self) -> None:
        worker, goes_on, ended = Worker("test"), threading.Event(), threading.Event()
        hanging = asyncio.ensure_future(worker.run(goes_on.wait))
        await asyncio.sleep(0)
        hanging.cancel()
        worker.last(ended.set)
        assert not ended.is_set()
        assert all(thread.daemon for thread in threading.enumerate() if thread.name == "test")
        goes_on.set()
        assert await asyncio.to_thread(ended.wait, 10)


@pytest.mark.postgres
async def test_an_account_of_a_killed_host_opens_elsewhere(shared: PostgresPlace) -> None:
    (account,) = shared.add(1)

    async def refused(address: str) -> bool:
        return False

    host, other = (
        Placement(shared.open(), backend=name, address=name, around=Surroundings(probe=refused)) for name in "ab"
    )
    host.start()
    other.start()
    here = await host.locate(account)
    assert isinstance(here, Here)
    assert isinstance(await other.locate(account), Elsewhere)
    for task in host._tasks:
        task.cancel()
    killed = time.monotonic()
    while not isinstance(found := await other.locate(account), Here):
        pass  # an interval or two, as long as the host's counter may still rise
    assert time.monotonic() - killed < 4.0
    assert found.epoch > here.epoch
    await other.close()


@pytest.mark.postgres
async def test_who_registers_waits_for_no_claim_that_hangs(shared: PostgresPlace) -> None:
    """For it would not beat meanwhile; but no later claim is made under the old name."""
    pool, goes_on = shared.open(), threading.Event()
    hanging = pool._claiming.run(goes_on.wait)
    await pool.register("a", "a:993", 7, False)
    living = asyncio.ensure_future(pool.living())
    assert (await pool.beat(7, False)).mine == 1
    assert not living.done()
    goes_on.set()
    assert await hanging
    ((peer, accounts),) = await living
    assert (peer.incarnation, accounts) == (7, 0)
