"""Long questions and answers over a stream of a real link, and what is not taken."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from rookery.base.errors import Cause, RookeryError
from rookery.base.members import Member
from rookery.distribution.service import carry
from rookery.net.cluster.link import Link
from rookery.net.cluster.stream import LinkStream
from rookery.wire.cluster.values import Preface
from tests.net.cluster.certificates import Authority
from tests.net.cluster.nodes import Nodes
from tests.net.turns import until

Answer = Callable[[Member, bytes], Awaitable[bytes]]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


class Asked(Nodes):
    """b1 answers what is carried to it with `reply`."""

    def __init__(self, authority: Authority) -> None:
        super().__init__(authority)
        self.carried = carry.Carried(self._answer)
        self.tasks: list[asyncio.Task[None]] = []
        self.reply: Answer = self.backwards

    async def backwards(self, node: Member, question: bytes) -> bytes:
        return question[::-1]

    async def _answer(self, node: Member, question: bytes) -> bytes:
        return await self.reply(node, question)

    def take(self, link: Link, preface: Preface, stream: LinkStream) -> None:
        self.tasks.append(asyncio.create_task(self._serve(link, preface, stream)))

    async def _serve(self, link: Link, preface: Preface, stream: LinkStream) -> None:
        try:
            await self.carried.enter(stream, link.peer, preface)
        except RookeryError as error:
            stream.reset(error.refusal)
        finally:
            stream.close()


@pytest.fixture
async def asked(authority: Authority) -> AsyncIterator[Asked]:
    made = Asked(authority)
    yield made
    for task in made.tasks:
        task.cancel()
    await asyncio.gather(*made.tasks, return_exceptions=True)
    await made.close()


@pytest.mark.parametrize("size", [0, 1, 70_000, 3_000_000])
async def test_any_length_goes_both_ways(asked: Asked, size: int) -> None:
    question = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    assert await carry.ask(await asked.link(), question, 20) == question[::-1]


async def test_several_at_once(asked: Asked) -> None:
    link = await asked.link()
    found = await asyncio.gather(*(carry.ask(link, b"%d" % n * 50_000, 20) for n in range(10)))
    assert found == [b"%d" % n * 50_000 for n in range(10)]


async def test_too_long_a_question_is_refused_before_it_is_read(asked: Asked) -> None:
    with pytest.raises(RookeryError) as caught:
        await carry.ask(await asked.link(), bytes(carry.QUESTION_LIMIT + 1), 20)
    assert caught.value.cause is Cause.TOO_BIG


async def test_a_node_asks_so_much_at_once(asked: Asked) -> None:
    link, held = await asked.link(), asyncio.Event()

    async def wait(node: Member, question: bytes) -> bytes:
        await held.wait()
        return question

    asked.reply = wait
    waiting = [asyncio.create_task(carry.ask(link, b"x", 20)) for _ in range(carry.MOST)]
    await until(lambda: len(asked.tasks) == carry.MOST)  # on one link they begin in their order
    with pytest.raises(RookeryError) as caught:
        await carry.ask(link, b"x", 20)
    assert caught.value.cause is Cause.TOO_MANY
    held.set()
    assert await asyncio.gather(*waiting) == [b"x"] * carry.MOST


async def test_a_link_that_is_lost_is_told(asked: Asked) -> None:
    link = await asked.link()

    async def end(node: Member, question: bytes) -> bytes:
        link.abort()
        return question

    asked.reply = end
    with pytest.raises(RookeryError) as caught:
        await carry.ask(link, b"x", 20)
    assert caught.value.cause is Cause.UNAVAILABLE
