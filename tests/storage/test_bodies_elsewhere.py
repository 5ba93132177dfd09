"""A store on PostgreSQL whose bodies are in a shared folder or in a bucket: whole lives of messages, and crashes."""

from pathlib import Path
from typing import Any

import pytest

from rookery.base.clock import ManualClock
from rookery.base.errors import Cause, RookeryError
from rookery.base.ids import BlobId, new_blob_id, system_random
from rookery.base.numberset import NumberSet
from rookery.storage.elsewhere import Elsewhere
from rookery.storage.gate import Gate
from rookery.storage.parted_blobs import PartedBlobs
from rookery.storage.store import Store
from rookery.storage.verify import Trouble
from tests import s3 as service
from tests.postgres import Postgres
from tests.storage.conftest import SMALL, Mail, staged
from tests.storage.hosts import Host
from tests.storage.world import account_id

pytestmark = pytest.mark.postgres
bucket = service.bucket
ONE = account_id(1)
ALL = NumberSet.parse("1:9")
DAY = 86_400
SHELVES = 4  # all ids are on the first ones, and nobody has to look at the others


def _random(count: int) -> bytes:
    return system_random(count - 1) + bytes([system_random(1)[0] % SHELVES])


@pytest.fixture(autouse=True)
def _few_shelves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PartedBlobs, "shelves", SHELVES)


@pytest.fixture(params=["folder", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Elsewhere:
    if request.param == "folder":
        (tmp_path / "shared").mkdir()
        return Elsewhere(str(tmp_path / "shared"))
    found = request.getfixturevalue("bucket")
    return Elsewhere(found.url, found.options)


class Backends:
    """Opens stores of one database, each with a folder of its own."""

    def __init__(self, database: Postgres, folder: Path, clock: ManualClock) -> None:
        self._database, self._folder, self._clock = database, folder, clock
        self.open: list[Store] = []
        self.hosts: list[Host] = []

    async def start(self, bodies: Elsewhere | None) -> Store:
        facts: dict[str, Any] = {"clock": self._clock, "random": _random, "gate": Gate(), "settings": SMALL}
        name = f"b{len(self.hosts)}"
        self.hosts.append(Host(self._database, name))
        store = await self.hosts[-1].open(self._folder / name, bodies=bodies, **facts)
        self.open.append(store)
        return store


@pytest.fixture
async def backends(fresh_postgres: Postgres, tmp_path: Path, clock: ManualClock) -> Any:
    made = Backends(fresh_postgres, tmp_path, clock)
    yield made
    for store in made.open:
        await store.close()


def _kept(store: Store) -> list[BlobId]:
    return [blob for number in range(store.blobs.shelves) for blob in store.blobs.shelf(number)]


async def _mail(store: Store) -> Mail:
    await store.create_account(ONE)
    return Mail(store, ONE, await store.open_account(ONE))


async def test_messages_come_are_read_by_another_backend_and_go(
    backends: Backends, place: Elsewhere, clock: ManualClock
) -> None:
    first, second = await backends.start(place), await backends.start(place)
    bodies = [b"Subject: one\r\n\r\n", b"Subject: big\r\n\r\n" + b"x" * 1_300_000, b"Subject: three\r\n\r\n"]
    mail = await _mail(first)
    for body in bodies:
        await mail.append(body)
    assert len(_kept(first)) == 3
    backends.hosts[1].claim(ONE)
    there = Mail(second, ONE, await second.open_account(ONE))
    presences = list(there.opened.presences(1, ALL))
    assert there.opened.bodies(presences) == bodies
    assert there.opened.body_part(presences[1], 1_000_000, 9) == b"x" * 9
    assert b"".join(there.opened.body_chunks(presences[1], 5)) == bodies[1][5:]
    assert (await second.verify()).findings == []
    await there.opened.expunge(1, force=True)
    clock.advance(DAY + 1)
    await second.upkeep.run()
    assert _kept(second) == []
    with second.read() as reader:
        assert reader.row("SELECT count(*) FROM blob") == (0,)


async def test_a_crash_between_body_and_index_leaves_an_orphan_that_goes_after_a_day(
    backends: Backends, place: Elsewhere, clock: ManualClock
) -> None:
    store = await backends.start(place)
    mail = await _mail(store)
    await mail.append(b"Subject: stays\r\n\r\n")
    orphan = new_blob_id(clock, _random)
    store.blobs.put_batch([(orphan, staged(store, b"nobody was told"))])
    await store.upkeep.run()
    assert orphan in _kept(store)  # it may be just arriving
    report = await store.verify()
    assert [finding.trouble for finding in report.findings] == [Trouble.ORPHAN]
    clock.advance(DAY + 1)
    await store.upkeep.run()
    assert len(_kept(store)) == 1
    assert orphan not in _kept(store)
    [presence] = mail.opened.presences(1, ALL)
    assert mail.opened.body(presence) == b"Subject: stays\r\n\r\n"
    assert (await store.verify()).findings == []


async def test_a_body_that_is_gone_is_reported(backends: Backends, place: Elsewhere) -> None:
    store = await backends.start(place)
    mail = await _mail(store)
    await mail.append()
    store.blobs.delete_many(_kept(store))
    [finding] = (await store.verify()).findings
    assert finding.trouble is Trouble.MISSING
    [presence] = mail.opened.presences(1, ALL)
    with pytest.raises(RookeryError) as caught:
        mail.opened.body(presence)
    assert caught.value.cause is Cause.CORRUPT


async def test_where_bodies_are_does_not_change_once_there_is_mail(backends: Backends, place: Elsewhere) -> None:
    first = await backends.start(None)
    second = await backends.start(place)  # without mail it may
    mail = await _mail(second)
    await mail.append()
    with pytest.raises(RookeryError, match=r"store\.blobs") as caught:
        await backends.start(None)
    assert caught.value.cause is Cause.UNSUPPORTED
    del first


async def test_mail_that_is_in_the_database_is_not_looked_for_elsewhere(backends: Backends, place: Elsewhere) -> None:
    mail = await _mail(await backends.start(None))
    await mail.append()
    with pytest.raises(RookeryError, match="in its database"):
        await backends.start(place)


async def test_a_service_that_is_away_refuses_mail_and_nothing_else(
    backends: Backends, tmp_path: Path, clock: ManualClock
) -> None:
    folder = tmp_path / "shared"
    folder.mkdir()
    store = await backends.start(Elsewhere(str(folder)))
    mail = await _mail(store)
    await mail.append()
    folder.rename(tmp_path / "away")
    with pytest.raises(RookeryError) as caught:
        await mail.append()
    assert caught.value.cause is Cause.UNAVAILABLE
    await mail.opened.create_mailbox("work")
    (tmp_path / "away").rename(folder)
    assert await mail.append() == 2
