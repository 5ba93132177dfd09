"""Blobs: what goes in comes out, in segment files and in PostgreSQL alike."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from rookery.base.clock import ManualClock
from rookery.base.errors import Cause, RookeryError
from rookery.base.ids import BlobId
from rookery.storage.blobs import BlobStore, LookAgain, Place
from rookery.storage.bodies import Blobs
from rookery.storage.engine import Database
from rookery.storage.files import DiskFiles
from rookery.storage.gate import Gate
from rookery.storage.migrations import Migration
from rookery.storage.postgres_blobs import PART, PostgresBlobs, body_tables
from rookery.storage.sqlite import SqliteDatabase
from rookery.storage.staging import Staged
from rookery.storage.writer import Rule, Writer
from tests.postgres import Postgres

INDEX = (Migration(1, ("CREATE TABLE email (blob BLOB PRIMARY KEY)",)),)
SIZES = (0, 1, PART - 1, PART, PART + 1, (1 << 20) - 1, 1 << 20, 3_000_001)


def _id(n: int) -> BlobId:
    return BlobId(n.to_bytes(16, "big"))


def _octets(size: int) -> bytes:
    return (bytes(range(251)) * (size // 251 + 1))[:size]


@pytest.fixture(params=["files", pytest.param("postgres", marks=pytest.mark.postgres)])
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Database, Blobs]]:
    if request.param == "postgres":
        server: Postgres = request.getfixturevalue("fresh_postgres")
        database: Database = server.open((*INDEX, body_tables(2)))
        blobs: Blobs = PostgresBlobs(database, tmp_path / "staging")
    else:
        database = SqliteDatabase(tmp_path / "index.db", INDEX)
        blobs = BlobStore(tmp_path / "blobs", DiskFiles())
    yield database, blobs
    blobs.close()
    database.close()


def _staged(blobs: Blobs, data: bytes) -> Staged:
    staging = blobs.stage()
    for start in range(0, len(data), 100_000):
        staging.write(data[start : start + 100_000])
    return staging.finish()


def _put(kept: tuple[Database, Blobs], bodies: dict[BlobId, bytes]) -> dict[BlobId, Place]:
    database, blobs = kept
    places = blobs.put_batch([(blob, _staged(blobs, data)) for blob, data in bodies.items()])
    with database.write() as tx:
        blobs.write(tx, list(bodies))
        tx.insert_many("email", ("blob",), [(blob,) for blob in bodies])
    return dict(places)


def test_every_size_whole_in_part_and_in_chunks(kept: tuple[Database, Blobs]) -> None:
    bodies = {_id(n): _octets(size) for n, size in enumerate(SIZES)}
    places = _put(kept, bodies)
    blobs = kept[1]
    assert blobs.read_many([(blob, places[blob]) for blob in bodies]) == list(bodies.values())
    for blob, data in bodies.items():
        place = places[blob]
        assert place.length == len(data)
        assert blobs.read(blob, place) == data
        pieces = list(blobs.chunks(blob, place))
        assert b"".join(pieces) == data
        assert all(len(piece) <= PART for piece in pieces)
        assert b"".join(blobs.chunks(blob, place, 7, PART + 7)) == data[7 : PART + 7]
        for offset, length in ((0, 10), (PART - 5, 10), (PART, PART), (len(data) - 3, 100), (len(data), 5)):
            offset = max(0, offset)
            assert blobs.read(blob, place, offset, length) == data[offset : offset + length]


def test_what_is_deleted_is_gone_and_a_second_time_is_well(kept: tuple[Database, Blobs]) -> None:
    places = _put(kept, {_id(1): _octets(1 << 20), _id(2): _octets(1 << 20)})
    database, blobs = kept
    with database.write() as tx:
        blobs.drop(tx, [_id(1)])
    for _ in range(2):
        blobs.delete_many([_id(1), _id(7)])
    with pytest.raises(LookAgain):
        blobs.read(_id(1), places[_id(1)])
    assert blobs.read(_id(2), places[_id(2)]) == _octets(1 << 20)


async def test_a_writer_makes_bodies_durable_with_what_names_them(kept: tuple[Database, Blobs]) -> None:
    database, blobs = kept
    writer = Writer(database, blobs, Gate(), limit_bytes=1 << 24, clock=ManualClock())

    def keep(tx, items):  # type: ignore[no-untyped-def]
        tx.insert_many("email", ("blob",), [(blob,) for blob in items])
        return [None] * len(items)

    rule: Rule[BlobId, None] = Rule("keep", keep)
    answers: list[object] = []
    for n, blob in enumerate((_id(1), _id(2), _id(1), _id(3))):  # the third spoils the batch: each alone then
        bodies = [(BlobId(bytes([n]) * 16), _staged(blobs, b"%d" % n))]
        writer.submit(rule, blob, done=answers.append, bodies=bodies)
    await writer.exclusive(lambda tx: None)
    await writer.close()
    assert [answer is None for answer in answers] == [True, True, False, True]
    good = [BlobId(bytes([n]) * 16) for n in (0, 1, 3)]
    if isinstance(blobs, PostgresBlobs):
        assert [blobs.read(blob, Place(0, 0, 1, 0)) for blob in good] == [b"0", b"1", b"3"]
        with pytest.raises(LookAgain):
            blobs.read(BlobId(bytes([2]) * 16), Place(0, 0, 1, 0))


@pytest.mark.postgres
class TestRows:
    @pytest.fixture
    def rows(self, fresh_postgres: Postgres, tmp_path: Path) -> Iterator[tuple[Database, PostgresBlobs]]:
        database = fresh_postgres.open((*INDEX, body_tables(2)))
        yield database, PostgresBlobs(database, tmp_path / "staging")
        database.close()

    @pytest.mark.parametrize(
        ("damage", "said"),
        [
            ("UPDATE body SET data = overlay(data placing '\\x00'::bytea from 9) WHERE part = 1", "checksum of part 1"),
            ("UPDATE body SET data = substring(data from 1 for 5) WHERE part = 2", "checksum of part 2"),
            ("DELETE FROM body WHERE part = 1", "missing"),
            ("DELETE FROM body", "missing"),
        ],
    )
    def test_a_rotten_body_is_named_and_never_served(
        self, rows: tuple[Database, PostgresBlobs], damage: str, said: str
    ) -> None:
        database, blobs = rows
        place = _put(rows, {_id(5): _octets(3 * PART)})[_id(5)]
        assert blobs.verify(_id(5), place) is None
        with database.write() as tx:
            tx.run(damage)
        assert said in str(blobs.verify(_id(5), place))
        with pytest.raises((RookeryError, LookAgain)) as caught:
            blobs.read(_id(5), place)
        if isinstance(caught.value, RookeryError):
            assert caught.value.cause is Cause.CORRUPT
            assert blobs.read(_id(5), place, 0, 100) == _octets(100)  # in a part that is good

    def test_strays_are_those_that_nothing_names(self, rows: tuple[Database, PostgresBlobs]) -> None:
        _put(rows, {_id(1): b"one", _id(2): _octets(1 << 20)})
        database, blobs = rows
        blobs.put_batch([(_id(3), _staged(blobs, _octets(1 << 20))), (_id(4), _staged(blobs, _octets(1 << 20)))])
        assert blobs.strays("email", _id(4)) == [_id(3)]
        blobs.delete_many(blobs.strays("email", _id(9)))
        assert blobs.strays("email", _id(9)) == []
        with database.read() as reader:
            assert reader.row("SELECT count(DISTINCT blob) FROM body") == (2,)

    def test_parts_are_kept_out_of_line_and_uncompressed(self, rows: tuple[Database, PostgresBlobs]) -> None:
        _put(rows, {_id(1): b"\0" * PART})
        with rows[0].read() as reader:
            assert reader.row("SELECT pg_column_size(data) FROM body") == (PART,)
