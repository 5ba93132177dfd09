from collections.abc import Callable

import pytest

from rookery.base.clock import ManualClock
from rookery.base.errors import Cause, Refusal, RookeryError
from rookery.distribution.service.calls import Nothing, Recipient, Verdict, decode_question, encode, refused
from rookery.distribution.service.known import STALE, KnownDirectory

YES, NO = Verdict(True, True, 300.0), Verdict(False, True, 30.0)


class Far:
    """A directory node; `away` while nobody answers."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.asked: list[str] = []
        self.away = False
        self.verdict: Callable[[str], Verdict | None] = lambda address: YES if address.startswith("a") else NO
        self.known = KnownDirectory(self.call, self.clock, kept=3, absent=2)

    async def call(self, data: bytes) -> bytes:
        if self.away:
            raise RookeryError(Cause.UNAVAILABLE, "no directory node answers")
        question = decode_question(data)
        assert isinstance(question, Recipient)
        self.asked.append(question.address)
        found = self.verdict(question.address)
        return encode(found or refused(Refusal(Cause.BUSY, "later")))


async def test_an_answer_is_used_for_its_lifetime() -> None:
    far = Far()
    assert [await far.known.recipient("alice"), await far.known.recipient("alice")] == [YES, YES]
    far.clock.advance(300)
    assert await far.known.recipient("alice") == YES
    assert far.asked == ["alice", "alice"]


async def test_while_nobody_answers_the_known_ones_are_known_still() -> None:
    far = Far()
    await far.known.recipient("alice")
    far.away = True
    far.clock.advance(3_600)
    assert await far.known.recipient("alice") == YES
    far.clock.advance(5)
    assert far.known.stale == 5.0
    with pytest.raises(RookeryError) as told:
        await far.known.recipient("stranger")
    assert told.value.cause is Cause.UNAVAILABLE
    far.away = False
    far.verdict = lambda address: NO
    assert await far.known.recipient("alice") == NO
    assert far.known.stale == 0.0
    far.away = True
    far.clock.advance(STALE)
    with pytest.raises(RookeryError):
        await far.known.recipient("alice")


async def test_a_refusal_that_will_pass_is_like_nobody_and_another_is_told() -> None:
    far = Far()
    await far.known.recipient("alice")
    far.clock.advance(301)
    far.verdict = lambda address: None
    assert await far.known.recipient("alice") == YES


async def test_after_a_signal_everything_is_asked_again() -> None:
    far = Far()
    await far.known.recipient("alice")
    far.known.forget()
    await far.known.recipient("alice")
    assert far.asked == ["alice", "alice"]
    far.known.forget()
    far.away = True
    assert await far.known.recipient("alice") == YES


async def test_who_guesses_does_not_push_the_real_ones_out() -> None:
    far = Far()
    await far.known.recipient("alice")
    for number in range(10):
        await far.known.recipient(f"guess{number}")
    await far.known.recipient("alice")
    assert far.asked.count("alice") == 1
    for name in ("a1", "a2", "a3"):
        await far.known.recipient(name)
    await far.known.recipient("alice")
    assert far.asked.count("alice") == 2


@pytest.mark.parametrize("data", [b"", b"\xc1", b"\x93", encode(Nothing()), b"\x91\xa7unheard"])
async def test_an_answer_that_makes_no_sense_is_nobodys(data: bytes) -> None:
    async def call(question: bytes) -> bytes:
        return data

    with pytest.raises(RookeryError) as told:
        await KnownDirectory(call, ManualClock()).recipient("alice")
    assert told.value.cause is Cause.UNAVAILABLE
