"""Mail for another pool: one of its backends after the other, and every job is answered once, in order."""

from collections.abc import AsyncIterator, Sequence

import pytest

from rookery.distribution.delivery.outcome import Job, Outcome, Verdict, own
from rookery.distribution.delivery.pool import InwardDelivery, PoolDelivery

DONE = Outcome(Verdict.DONE, 250, "2.0.0", "Delivered")
ELSEWHERE = Outcome(Verdict.LATER, 451, "4.3.2", "The mailbox is hosted by backend b9")


class Backend:
    """Answers at once: as `answers` says, else DONE."""

    def __init__(self) -> None:
        self.taken: list[tuple[str, ...]] = []
        self.answers: dict[str, Outcome] = {}
        self.closed = False

    def submit(self, job: Job) -> None:
        self.taken.append(job.recipients)
        job.done([self.answers.get(recipient, DONE) for recipient in job.recipients])

    async def close(self) -> None:
        self.closed = True


class Pool:
    def __init__(self, *addresses: str) -> None:
        self.backends = {address: Backend() for address in addresses}
        self.delivery = PoolDelivery("b", addresses, self.backends.__getitem__)

    def send(self, *recipients: str) -> list[Outcome]:
        answered: list[list[Outcome]] = []

        async def nothing() -> AsyncIterator[bytes]:
            yield b""

        def done(outcomes: Sequence[Outcome]) -> None:
            answered.append(list(outcomes))

        self.delivery.submit(Job("", recipients, 0, False, False, "m", "s", None, nothing, done))
        (outcomes,) = answered
        return outcomes


def test_backends_take_turns() -> None:
    pool = Pool("1", "2")
    assert [pool.send("a"), pool.send("b"), pool.send("c")] == [[DONE]] * 3
    assert [backend.taken for backend in pool.backends.values()] == [[("a",), ("c",)], [("b",)]]


def test_what_a_backend_does_not_host_goes_to_the_next() -> None:
    pool = Pool("1", "2", "3")
    full = Outcome(Verdict.LATER, 452, "4.2.2", "Mailbox is full")
    pool.backends["1"].answers = {"b": ELSEWHERE, "c": full, "d": ELSEWHERE}
    pool.backends["2"].answers = {"b": ELSEWHERE}
    assert pool.send("a", "b", "c", "d") == [DONE, DONE, full, DONE]
    assert [backend.taken for backend in pool.backends.values()] == [[("a", "b", "c", "d")], [("b", "d")], [("b",)]]


def test_the_last_backend_has_the_last_word() -> None:
    pool = Pool("1", "2")
    for backend in pool.backends.values():
        backend.answers = {"a": ELSEWHERE}
    assert pool.send("a", "b") == [ELSEWHERE, DONE]


@pytest.mark.parametrize("outcome", [own("4.4.2", "the connection was lost"), own("4.3.0", "not now")])
def test_what_may_have_been_taken_is_not_sent_again_at_once(outcome: Outcome) -> None:
    pool = Pool("1", "2")
    pool.backends["1"].answers = {"a": outcome}
    assert pool.send("a") == [outcome]
    assert not pool.backends["2"].taken


def test_an_address_that_the_directory_knows_is_not_returned() -> None:
    pool = Pool("1")
    pool.backends["1"].answers = {
        "new": Outcome(Verdict.NEVER, 550, "5.1.1", "No such address here"),
        "bad": Outcome(Verdict.NEVER, 550, "5.7.1", "Not permitted"),
    }
    new, bad = pool.send("new", "bad")
    assert (new.verdict, bad.verdict) == (Verdict.LATER, Verdict.NEVER)


async def test_a_pool_without_addresses_waits_for_one() -> None:
    assert [one.verdict for one in Pool().send("a", "b")] == [Verdict.LATER] * 2
    pool = Pool("1", "2")
    await pool.delivery.close()
    assert all(backend.closed for backend in pool.backends.values())


def test_what_is_handed_inward_goes_to_the_same_node_at_every_attempt() -> None:
    nodes = {address: Backend() for address in ("1", "2", "3")}
    delivery = InwardDelivery(tuple(nodes), nodes.__getitem__)

    def send(message: str) -> Outcome:
        answered: list[Outcome] = []

        async def nothing() -> AsyncIterator[bytes]:
            yield b""

        job = Job("", ("a",), 0, False, False, message, "s", None, nothing, answered.extend)
        delivery.submit(job)
        return answered[0]

    for message in ("c1", "c2", "c3", "c4", "c5", "c6", "c7", "c8"):
        before = {address: len(node.taken) for address, node in nodes.items()}
        assert [send(message) for _ in range(3)] == [DONE] * 3
        grown = {address for address, node in nodes.items() if len(node.taken) > before[address]}
        assert len(grown) == 1
    assert all(node.taken for node in nodes.values())  # and not all to one
    lost = own("4.4.2", "the connection was lost")
    for node in nodes.values():
        node.answers = {"a": lost}
    assert send("c1") == lost  # it may have been taken: nobody else is asked
    for node in nodes.values():
        node.answers = {"a": ELSEWHERE}
    counts = [len(node.taken) for node in nodes.values()]
    assert send("c1") == ELSEWHERE
    assert [len(node.taken) - count for node, count in zip(nodes.values(), counts, strict=True)] == [1, 1, 1]
    for node in nodes.values():
        node.answers = {"a": own("5.1.1", "no such address")}
    assert send("c1").verdict is Verdict.NEVER
