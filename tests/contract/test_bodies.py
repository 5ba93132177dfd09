"""Blobs: what goes in comes out: in segment files, in PostgreSQL, in a shared folder and in an object store alike."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest
from obstore.store import MemoryStore

from rookery.base.clock import ManualClock
from rookery.base.errors import Cause, RookeryError
from rookery.base.ids import BlobId
from rookery.storage.blobs import BlobStore, LookAgain, Place
from rookery.storage.bodies import Blobs
from rookery.storage.engine import Database
from rookery.storage.files import DiskFiles
from rookery.storage.folder_blobs import FolderBlobs
from rookery.storage.gate import Gate
from rookery.storage.group_commit import Rule
from rookery.storage.migrations import Migration
from rookery.storage.parted import PART, head_size
from rookery.storage.parted_blobs import PartedBlobs
from rookery.storage.postgres_blobs import PostgresBlobs, body_tables
from rookery.storage.sqlite import SqliteDatabase
from rookery.storage.staging import Staged
from rookery.storage.writer import Writer
from tests import s3 as server
from tests.contract.bodies import body_id, in_bucket, in_folder, octets, staged
from tests.postgres import Postgres

bucket, s3 = server.bucket, server.s3

INDEX = (Migration(1, ("CREATE TABLE email (blob BLOB PRIMARY KEY)",)),)
SIZES = (0, 1, PART - 1, PART, PART + 1, (1 << 20) - 1, 1 << 20, 3_000_001)


@pytest.fixture(params=["files", pytest.param("postgres", marks=pytest.mark.postgres), "folder", "objects", "s3"])
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Database, Blobs]]:
    if request.param == "postgres":
        server: Postgres = request.getfixturevalue("fresh_postgres")
        database: Database = server.open((*INDEX, body_tables(2)))
        blobs: Blobs = PostgresBlobs(database, tmp_path / "staging")
    else:
        database = SqliteDatabase(tmp_path / "index.db", INDEX)
        if request.param == "files":
            blobs = BlobStore(tmp_path / "blobs", DiskFiles())
        elif request.param == "folder":
            blobs = in_folder(tmp_path)
        else:
            objects = MemoryStore() if request.param == "objects" else request.getfixturevalue("s3")
            blobs = in_bucket(objects, tmp_path)
    yield database, blobs
    blobs.close()
    database.close()


def _put(kept: tuple[Database, Blobs], bodies: dict[BlobId, bytes]) -> dict[BlobId, Place]:
    database, blobs = kept
    items = [(blob, staged(blobs, data)) for blob, data in bodies.items()]
    places = blobs.put_batch(items)
    with database.write() as tx:
        blobs.write(tx, items)
        tx.insert_many("email", ("blob",), [(blob,) for blob in bodies])
    return dict(places)


def test_every_size_whole_in_part_and_in_chunks(kept: tuple[Database, Blobs]) -> None:
    bodies = {body_id(n): octets(size) for n, size in enumerate(SIZES)}
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
    places = _put(kept, {body_id(1): octets(1 << 20), body_id(2): octets(1 << 20)})
    database, blobs = kept
    with database.write() as tx:
        blobs.drop(tx, [body_id(1)])
    for _ in range(2):
        blobs.delete_many([body_id(1), body_id(7)])
    with pytest.raises(LookAgain):
        blobs.read(body_id(1), places[body_id(1)])
    assert blobs.read(body_id(2), places[body_id(2)]) == octets(1 << 20)


async def test_a_writer_makes_bodies_durable_with_what_names_them(kept: tuple[Database, Blobs]) -> None:
    database, blobs = kept
    writer = Writer(database, blobs, Gate(), limit_bytes=1 << 24, clock=ManualClock())

    def keep(tx, items):  # type: ignore[no-untyped-def]
        tx.insert_many("email", ("blob",), [(blob,) for blob in items])
        return [None] * len(items)

    rule: Rule[BlobId, None] = Rule("keep", keep)
    answers: list[object] = []
    for n, blob in enumerate(map(body_id, (1, 2, 1, 3))):  # the third spoils the batch: each alone then
        bodies = [(BlobId(bytes([n]) * 16), staged(blobs, b"%d" % n))]
        writer.submit(rule, blob, done=answers.append, bodies=bodies)
    await writer.exclusive(lambda tx: None)
    await writer.close()
    assert [answer is None for answer in answers] == [True, True, False, True]
    good = [BlobId(bytes([n]) * 16) for n in (0, 1, 3)]
    if isinstance(blobs, PostgresBlobs | PartedBlobs):
        place = Place(0, 0 if blobs.with_index else head_size(1), 1, 0)
        assert [blobs.read(blob, place) for blob in good] == [b"0", b"1", b"3"]
    if isinstance(blobs, PostgresBlobs):
        with pytest.raises(LookAgain):
            blobs.read(BlobId(bytes([2]) * 16), place)


async def test_a_service_that_takes_its_time_is_no_writer_that_hangs(tmp_path: Path) -> None:
    clock = ManualClock()
    seen: list[float] = []

    class Slow(FolderBlobs):
        patient = True

        def put_batch(self, items: Sequence[tuple[BlobId, Staged]]) -> Mapping[BlobId, Place]:
            clock.advance(9)
            seen.append(writer.stuck())
            return super().put_batch(items)

    def rule(tx, items):  # type: ignore[no-untyped-def]
        clock.advance(3)
        seen.append(writer.stuck())
        return items

    database = SqliteDatabase(tmp_path / "index.db", INDEX)
    in_folder(tmp_path).close()
    blobs = Slow(tmp_path / "shared", tmp_path / "staging")
    writer = Writer(database, blobs, Gate(), limit_bytes=1 << 24, clock=clock)
    await writer.run(Rule("rule", rule), None, bodies=[(body_id(1), staged(blobs, b"x"))])
    assert seen == [0.0, 3.0]
    await writer.close()
    blobs.close()
    database.close()


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
        place = _put(rows, {body_id(5): octets(3 * PART)})[body_id(5)]
        assert blobs.verify(body_id(5), place) is None
        with database.write() as tx:
            tx.run(damage)
        assert said in str(blobs.verify(body_id(5), place))
        with pytest.raises((RookeryError, LookAgain)) as caught:
            blobs.read(body_id(5), place)
        if isinstance(caught.value, RookeryError):
            assert caught.value.cause is Cause.CORRUPT
            assert blobs.read(body_id(5), place, 0, 100) == octets(100)  # in a part that is good

    def test_strays_are_those_that_nothing_names(self, rows: tuple[Database, PostgresBlobs]) -> None:
        _put(rows, {body_id(1): b"one", body_id(2): octets(1 << 20)})
        database, blobs = rows
        blobs.put_batch([(body_id(3), staged(blobs, octets(1 << 20))), (body_id(4), staged(blobs, octets(1 << 20)))])
        assert blobs.strays("email", body_id(4)) == [body_id(3)]
        blobs.delete_many(blobs.strays("email", body_id(9)))
        assert blobs.strays("email", body_id(9)) == []
        with database.read() as reader:
            assert reader.row("SELECT count(DISTINCT blob) FROM body") == (2,)

    def test_parts_are_kept_out_of_line_and_uncompressed(self, rows: tuple[Database, PostgresBlobs]) -> None:
        _put(rows, {body_id(1): b"\0" * PART})
        with rows[0].read() as reader:
            assert reader.row("SELECT pg_column_size(data) FROM body") == (PART,)
