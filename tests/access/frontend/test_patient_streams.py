"""A node that is the only one to take some mail is given the time to start again."""

from typing import cast

import pytest

from rookery.access.frontend import linked
from rookery.base.errors import Cause, RookeryError
from rookery.base.members import Member, Role
from rookery.net.cluster.links import Links
from rookery.net.stream import Peer
from rookery.wire.cluster.values import Preface

THERE = Peer("192.0.2.21", 7143)


class Node:
    """Links to it, and the link: it fails as `failures` say, one after the other."""

    def __init__(self, *failures: Cause) -> None:
        self.failures = list(failures)
        self.peer = Member("b1", frozenset({Role.BACKEND}), b"", 0)
        self.prefaces: list[Preface] = []

    async def to(self, address: Peer) -> "Node":
        assert address == THERE
        if self.failures:
            raise RookeryError(self.failures.pop(0), "not now")
        return self

    async def open(self, preface: Preface) -> None:
        self.prefaces.append(preface)


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linked, "PAUSE", 0.0)


async def test_it_is_looked_for_again() -> None:
    node = Node(Cause.UNAVAILABLE, Cause.UNAVAILABLE)
    await linked.patient_stream(cast(Links, node), THERE, "lmtp", "c0123456789a")
    assert node.prefaces == [Preface("lmtp", resume=b"c0123456789a")]


@pytest.mark.parametrize("failures", [[Cause.UNAVAILABLE] * linked.ATTEMPTS, [Cause.TOO_MANY]])
async def test_not_for_ever_and_not_when_it_is_of_no_use(failures: list[Cause]) -> None:
    node = Node(*failures)
    with pytest.raises(RookeryError) as told:
        await linked.patient_stream(cast(Links, node), THERE, "lmtp")
    assert told.value.cause is failures[0]
    assert not node.failures
