"""A password that was checked at one backend costs no other check at the one that its users come to after a death."""

import asyncio

import pytest

from rookery.base.clock import ManualClock
from rookery.base.errors import Cause, RookeryError
from rookery.base.ids import AccountId
from rookery.base.members import Member, Role
from rookery.distribution.auth.authenticator import Authenticator
from rookery.distribution.auth.remembered import Remembered
from rookery.distribution.placement.rendezvous import ranked
from rookery.distribution.service.away import AWAY
from rookery.distribution.service.calls import AskKey, Checked, Host, KnowChecked, Question, encode
from rookery.distribution.service.herd import Herd
from rookery.distribution.service.questions import Questions
from tests.auth.conftest import Site, site  # noqa: F401  a fixture

ALICE = AccountId(b"a" * 16)


class Backends:
    """b1, b2 and b3 of one pool. `dead`: those that do not answer; `asked`: who was asked what."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.dead: set[str] = set()
        self.asked: list[tuple[str, Question]] = []
        self.living = ["b1", "b2", "b3"]
        self.herds: dict[str, Herd] = {}
        self.memories: dict[str, Remembered] = {}
        self._questions: dict[str, Questions] = {}
        for name in self.living:
            self.start(name, Remembered(clock))

    def start(self, name: str, remembered: Remembered) -> None:
        async def others(account: AccountId) -> list[Host]:
            return [Host(one, one) for one in self.order(account) if one != name]

        async def ask(host: Host, question: Question) -> bytes:
            self.asked.append((host.backend, question))
            if host.backend in self.dead:
                raise RookeryError(Cause.UNAVAILABLE, "dead")
            return await self._questions[host.backend].answer(
                Member(name, frozenset({Role.BACKEND}), b"", 0), encode(question)
            )

        herd = Herd(remembered, others, ask, self.clock)
        self.herds[name], self.memories[name], self._questions[name] = herd, remembered, Questions()
        herd.take(self._questions[name])

    def order(self, account: AccountId) -> list[str]:
        return ranked(account, self.living, str)

    async def answer(self, backend: str, caller: Member, question: Question) -> bytes:
        return await self._questions[backend].answer(caller, encode(question))

    async def settle(self) -> None:
        for herd in self.herds.values():
            while herd._telling:
                await asyncio.wait(set(herd._telling))


@pytest.fixture
def backends() -> Backends:
    return Backends(ManualClock())


async def test_whoever_is_asked_after_a_death_knows_or_knows_who_does(backends: Backends) -> None:
    for account in (AccountId(bytes([number]) * 16) for number in range(20)):
        backends.living = ["b1", "b2", "b3"]
        backends.herds["b1"].tell(account, 7, b"secret")
        await backends.settle()
        backends.living = ["b2", "b3"]
        for name in backends.living:
            memory = backends.memories[name]
            here = memory.knows(account, 7, memory.digest(account, b"secret"))
            assert here or await backends.herds[name].knows(account, 7, b"secret")
            assert not await backends.herds[name].knows(account, 7, b"guess")
            assert not await backends.herds[name].knows(account, 8, b"secret")  # changed since


async def test_it_is_known_before_the_dead_one_is_known_to_be_dead(backends: Backends) -> None:
    for account in (AccountId(bytes([number]) * 16) for number in range(20)):
        backends.dead.clear()
        backends.clock.advance(AWAY)
        backends.herds["b1"].tell(account, 7, b"secret")
        await backends.settle()
        backends.dead.add("b1")
        for name in ("b2", "b3"):
            memory = backends.memories[name]
            here = memory.knows(account, 7, memory.digest(account, b"secret"))
            assert here or await backends.herds[name].knows(account, 7, b"secret")


async def test_a_backend_that_was_started_again_has_another_key_and_knows_nothing(backends: Backends) -> None:
    teller, asker = backends.order(ALICE)[1:]
    first = backends.order(ALICE)[0]
    backends.herds[teller].tell(ALICE, 1, b"secret")
    await backends.settle()
    assert await backends.herds[asker].knows(ALICE, 1, b"secret")
    backends.start(first, Remembered(backends.clock))
    assert not await backends.herds[asker].knows(ALICE, 1, b"secret")
    backends.herds[teller].tell(ALICE, 1, b"secret")
    await backends.settle()
    assert await backends.herds[asker].knows(ALICE, 1, b"secret")


async def test_one_that_does_not_answer_is_not_asked_for_a_while(backends: Backends) -> None:
    first, asker = backends.order(ALICE)[:2]
    backends.dead.add(first)
    assert not await backends.herds[asker].knows(ALICE, 1, b"secret")
    asked = [name for name, _ in backends.asked].count(first)
    assert not await backends.herds[asker].knows(ALICE, 1, b"secret")
    backends.herds[asker].tell(ALICE, 1, b"secret")
    await backends.settle()
    assert [name for name, _ in backends.asked].count(first) == asked == 1
    assert await backends.herds[asker].knows(ALICE, 1, b"secret")  # the next one was told
    backends.dead.clear()
    backends.clock.advance(AWAY)
    backends.herds[asker].tell(ALICE, 1, b"secret")
    await backends.settle()
    assert await backends.herds[asker].knows(ALICE, 1, b"secret")


async def test_no_password_leaves_and_nobody_but_a_backend_is_told(backends: Backends) -> None:
    first, teller = backends.order(ALICE)[:2]
    backends.herds[teller].tell(ALICE, 1, b"a long secret")
    await backends.settle()
    assert {type(question) for _, question in backends.asked} == {AskKey, Checked}
    assert not any(b"secret" in encode(question) for _, question in backends.asked)
    checked = next(question for _, question in backends.asked if isinstance(question, Checked))
    known = KnowChecked(checked.account, checked.version, checked.digest, checked.key)
    for role in set(Role) - {Role.BACKEND}:
        thief = Member("f1", frozenset({role}), b"", 0)
        for question in (AskKey(), checked, known):
            assert b"denied" in await backends.answer(first, thief, question)


async def test_a_login_that_another_backend_has_seen_costs_no_hash(site: Site) -> None:  # noqa: F811
    backends = Backends(site.clock)
    here, there = (Authenticator(site.directory, site.hasher, clock=site.clock, sleep=site.sleep) for _ in range(2))
    backends.start("b1", here.remembered)
    backends.start("b2", there.remembered)
    backends.living = ["b1", "b2"]
    here.herd, there.herd = backends.herds["b1"], backends.herds["b2"]

    async def log_in(authenticator: Authenticator, password: str) -> None:
        await authenticator.check_password("alice", password, protocol="imap", peer="192.0.2.1", session="s")

    await log_in(here, "wonderland")
    await backends.settle()
    await here.settle()
    count = site.hasher.count
    here.herd = None  # its backend is dead
    backends.dead.add("b1")
    await log_in(there, "wonderland")
    assert site.hasher.count == count
    with pytest.raises(RookeryError) as told:
        await log_in(there, "wrong")
    assert told.value.cause is Cause.BAD_CREDENTIALS
    assert site.hasher.count == count + 1
