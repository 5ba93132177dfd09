"""Streams to other machines are not kept for ever, and nothing that comes while one ends is forgotten."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from rookery.distribution.delivery.local import LocalDelivery, LocalSettings
from rookery.distribution.delivery.outcome import Job, Outcome, Verdict
from rookery.net.memory import memory_pipe
from rookery.net.stream import Stream
from tests.queue.conftest import Server


class Machine:
    """Its LMTP server, and what delivers to it over one stream at a time."""

    def __init__(self, linger: float | None) -> None:
        self.server = Server(lmtp=True)
        self.sessions: list[asyncio.Task[None]] = []
        self.delivery = LocalDelivery(self._dial, LocalSettings("node.test", streams=1, linger=linger))

    async def _dial(self) -> Stream:
        near, self.far = memory_pipe()
        self.sessions.append(asyncio.create_task(self.server.serve(self.far)))
        return near

    async def send(self) -> Verdict:
        answered: asyncio.Future[Sequence[Outcome]] = asyncio.get_running_loop().create_future()

        async def chunks() -> AsyncIterator[bytes]:
            yield b"Subject: x\r\n\r\n"

        self.delivery.submit(Job("", ("a@b.test",), 14, False, False, "m", "s", None, chunks, answered.set_result))
        (outcome,) = await answered
        return outcome.verdict


@pytest.mark.parametrize("linger", [None, 10.0])
async def test_a_stream_is_used_again(linger: float | None) -> None:
    machine = Machine(linger)
    assert [await machine.send() for _ in range(3)] == [Verdict.DONE] * 3
    await machine.delivery.close()
    await asyncio.gather(*machine.sessions)
    assert machine.server.connections == 1


async def test_one_without_work_says_goodbye() -> None:
    machine = Machine(0.001)
    for number in (1, 2):
        assert await machine.send() is Verdict.DONE
        await asyncio.gather(*machine.sessions)  # until the client has quit
        assert machine.server.connections == number
    await machine.delivery.close()


async def test_what_comes_while_it_says_goodbye_is_delivered() -> None:
    machine = Machine(0.0)  # at any moment
    assert [await machine.send() for _ in range(50)] == [Verdict.DONE] * 50
    await machine.delivery.close()


async def test_one_whose_peer_went_away_meanwhile_costs_no_message() -> None:
    machine = Machine(None)
    assert await machine.send() is Verdict.DONE
    machine.sessions[0].cancel()
    await asyncio.gather(*machine.sessions, return_exceptions=True)
    machine.far.close()
    assert await machine.send() is Verdict.DONE
    assert machine.server.connections == 2
    await machine.delivery.close()
