"""An open spool on a manual clock, and a stand-in for the queue that only remembers what it was handed."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from rookery.base.clock import ManualClock
from rookery.distribution.spool import opening, shared
from rookery.distribution.spool.spool import Spool, SpoolSettings
from rookery.distribution.spool.values import Claimed, Incoming, Recipient
from rookery.storage.gate import Gate
from tests import postgres as server

postgres, fresh_postgres, wire = server.postgres, server.fresh_postgres, server.wire

BODY = b"Subject: hello\r\nMessage-ID: <one@example.test>\r\n\r\nHello.\r\n"


class Hand:
    """A queue with or without room."""

    def __init__(self, room: bool = True) -> None:
        self.taken: list[Claimed] = []
        self.woken = 0
        self.has_room = room

    def room(self, recipients: int) -> bool:
        return self.has_room

    def take(self, claimed: Claimed) -> None:
        self.taken.append(claimed)

    def wake(self) -> None:
        self.woken += 1


OpenSpool = Callable[..., Awaitable[Spool]]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
async def open_spool(request: pytest.FixtureRequest, tmp_path: Path, clock: ManualClock) -> AsyncIterator[OpenSpool]:
    """Opens the spool of this test, again and again; closes what is left open."""
    opened: list[Spool] = []

    async def sqlite(settings: SpoolSettings | None = None) -> Spool:
        opened.append(await opening.open_spool(tmp_path / "spool", clock=clock, gate=Gate(), settings=settings))
        return opened[-1]

    async def postgres(settings: SpoolSettings | None = None, holder: str = "n1", uri: str = "") -> Spool:
        place: server.Postgres = request.getfixturevalue("fresh_postgres")
        staging = tmp_path / f"staging-{len(opened)}"
        spool = await shared.open_shared_spool(
            uri or place.uri, staging, holder=holder, clock=clock, gate=Gate(), settings=settings, schema=place.schema
        )
        opened.append(spool)
        return spool

    yield postgres if request.param == "postgres" else sqlite
    for spool in opened:
        await spool.close()


@pytest.fixture
async def spool(open_spool: OpenSpool) -> Spool:
    return await open_spool()


@pytest.fixture
def hand(spool: Spool) -> Hand:
    hand = Hand()
    spool.attach(hand)
    return hand


def incoming(
    spool: Spool, *recipients: str, sender: str = "ann@remote.test", body: bytes = BODY, **facts: object
) -> Incoming:
    staging = spool.stage()
    staging.write(body)
    return Incoming(
        sender=sender,
        recipients=tuple(Recipient(address) for address in recipients or ("bob@example.test",)),
        staged=staging.finish(),
        **facts,  # type: ignore[arg-type]
    )


@pytest.fixture
def make() -> Callable[..., Incoming]:
    return incoming
