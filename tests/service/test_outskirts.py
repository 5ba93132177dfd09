"""What a mail exchanger at the perimeter takes, and where it sends it, by asking for one address at a time."""

from collections.abc import Awaitable
from typing import TypeVar

import pytest

from rookery.base.clock import ManualClock
from rookery.base.errors import Cause, RookeryError
from rookery.distribution.directory.resolve import Known
from rookery.distribution.directory.values import NotLocal, Resolved
from rookery.distribution.service.calls import Recipient, Verdict, decode_question, encode
from rookery.distribution.service.known import KnownDirectory
from rookery.distribution.service.outskirts import Outskirts, View

T = TypeVar("T")

ALICE, NOBODY, OUTSIDE = "alice@d.test", "nobody@d.test", "a@other.test"


class Directory:
    def __init__(self) -> None:
        self.away = False
        self.asked: list[str] = []

    async def call(self, data: bytes) -> bytes:
        question = decode_question(data)
        assert isinstance(question, Recipient)
        if self.away:
            raise RookeryError(Cause.UNAVAILABLE, "no directory node answers")
        self.asked.append(question.address)
        return encode(Verdict(question.address == ALICE, question.address.endswith("@d.test"), 300.0))


@pytest.fixture
def directory() -> Directory:
    return Directory()


@pytest.fixture
def outskirts(directory: Directory) -> Outskirts:
    return Outskirts(KnownDirectory(directory.call, ManualClock()))


async def test_only_what_the_directory_knows_is_taken(outskirts: Outskirts) -> None:
    found = [await outskirts.find(lambda view, a=address: view.known(a)) for address in (ALICE, NOBODY, OUTSIDE)]  # type: ignore[misc]
    assert found == [Known.LOCAL, Known.UNKNOWN, Known.NOT_LOCAL]


async def test_what_is_remembered_is_known_at_once(outskirts: Outskirts, directory: Directory) -> None:
    def look(view: View) -> Known:
        return view.known(ALICE)

    first = outskirts.ask(look)
    assert isinstance(first, Awaitable)
    assert await first is Known.LOCAL
    assert outskirts.ask(look) is Known.LOCAL
    assert directory.asked == [ALICE]


async def test_what_is_ours_goes_inward_whether_it_exists_or_not(outskirts: Outskirts) -> None:
    def look(view: View) -> list[object]:
        return [view.resolve(address) for address in (ALICE, NOBODY, OUTSIDE)]

    alice, nobody, outside = await outskirts.find(look)
    for found, address in ((alice, ALICE), (nobody, NOBODY)):
        assert isinstance(found, Resolved)
        assert [target.address for target in found.targets] == [address]
        assert not found.through
    assert outside == NotLocal("other.test")


async def test_many_addresses_are_asked_for_once_each(outskirts: Outskirts, directory: Directory) -> None:
    addresses = [f"u{number}@d.test" for number in range(100)]
    found = await outskirts.find(lambda view: [view.resolve(address) for address in addresses])
    assert len(found) == 100
    assert sorted(directory.asked) == sorted(addresses)


async def test_while_the_directory_is_away_what_is_known_is_taken_and_the_rest_waits(
    outskirts: Outskirts, directory: Directory
) -> None:
    await outskirts.find(lambda view: view.known(ALICE))
    directory.away = True
    assert await outskirts.find(lambda view: view.known(ALICE)) is Known.LOCAL
    with pytest.raises(RookeryError) as told:
        await outskirts.find(lambda view: view.known(NOBODY))
    assert told.value.cause is Cause.UNAVAILABLE
