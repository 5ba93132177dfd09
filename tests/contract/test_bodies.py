"""Blobs: what goes in comes out: in segment files, in PostgreSQL, in a shared folder and in an object store alike."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import obstore
import pytest
from obstore.store import MemoryStore, ObjectStore

from rookery.base.clock import ManualClock
from rookery.base.errors import Cause, Refusal, RookeryError
from rookery.base.ids import BlobId
from rookery.storage import object_blobs
from rookery.storage.blobs import BlobStore, LookAgain, Place
from rookery.storage.bodies import Blobs
from rookery.storage.engine import Database
from rookery.storage.files import DiskFiles
from rookery.storage.folder_blobs import FolderBlobs
from rookery.storage.gate import Gate
from rookery.storage.group_commit import Rule
from rookery.storage.migrations import Migration
from rookery.storage.object_blobs import ObjectBlobs, connect
from rookery.storage.parted import PART, head_size
from rookery.storage.parted_blobs import MARK, PartedBlobs
from rookery.storage.postgres_blobs import PostgresBlobs, body_tables
from rookery.storage.sqlite import SqliteDatabase
from rookery.storage.staging import Staged
from rookery.storage.writer import Writer
from tests import s3 as server
from tests.faults.disk import FaultyDisk
from tests.faults.driver import at_every_step
from tests.faults.files import FaultyFiles
from tests.postgres import Postgres

bucket, s3 = server.bucket, server.s3

INDEX = (Migration(1, ("CREATE TABLE email (blob BLOB PRIMARY KEY)",)),)
SIZES = (0, 1, PART - 1, PART, PART + 1, (1 << 20) - 1, 1 << 20, 3_000_001)


def _id(n: int) -> BlobId:
    return BlobId(n.to_bytes(16, "big"))


def _octets(size: int) -> bytes:
    return (bytes(range(251)) * (size // 251 + 1))[:size]


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
            blobs = _folder(tmp_path)
        else:
            objects = MemoryStore() if request.param == "objects" else request.getfixturevalue("s3")
            blobs = _objects(objects, tmp_path)
    yield database, blobs
    blobs.close()
    database.close()


def _folder(tmp_path: Path) -> FolderBlobs:
    (tmp_path / "shared").mkdir(exist_ok=True)
    blobs = FolderBlobs(tmp_path / "shared", tmp_path / "staging")
    blobs.claim("this store", fresh=True)
    return blobs


def _objects(objects: ObjectStore, tmp_path: Path) -> ObjectBlobs:
    blobs = ObjectBlobs(objects, "the bucket", tmp_path / "staging")
    blobs.claim("this store", fresh=True)
    return blobs


def _staged(blobs: Blobs, data: bytes) -> Staged:
    staging = blobs.stage()
    for start in range(0, len(data), 100_000):
        staging.write(data[start : start + 100_000])
    return staging.finish()


def _put(kept: tuple[Database, Blobs], bodies: dict[BlobId, bytes]) -> dict[BlobId, Place]:
    database, blobs = kept
    items = [(blob, _staged(blobs, data)) for blob, data in bodies.items()]
    places = blobs.put_batch(items)
    with database.write() as tx:
        blobs.write(tx, items)
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
    _folder(tmp_path).close()
    blobs = Slow(tmp_path / "shared", tmp_path / "staging")
    writer = Writer(database, blobs, Gate(), limit_bytes=1 << 24, clock=clock)
    await writer.run(Rule("rule", rule), None, bodies=[(_id(1), _staged(blobs, b"x"))])
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


class TestPlacesOfTheirOwn:
    @pytest.fixture(params=["folder", "objects", "s3"])
    def apart(self, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator["Apart"]:
        if request.param == "folder":
            made = Apart(_folder(tmp_path), tmp_path / "shared", None)
        else:
            objects = MemoryStore() if request.param == "objects" else request.getfixturevalue("s3")
            made = Apart(_objects(objects, tmp_path), Path(), objects)
        yield made
        made.blobs.close()

    @pytest.mark.parametrize(
        ("at", "said"),
        [(0, "header"), (20, "header"), (40, "header"), (-1, "part 2"), (head_size(3 * PART) + PART, "part 1")],
    )
    def test_a_rotten_part_is_named_and_never_served(self, apart: "Apart", at: int, said: str) -> None:
        place = apart.put(_id(5), _octets(3 * PART))
        data = bytearray(apart.octets(_id(5)))
        data[at] ^= 1
        apart.replace(_id(5), bytes(data))
        for reading in (lambda: apart.blobs.read(_id(5), place), lambda: b"".join(apart.blobs.chunks(_id(5), place))):
            with pytest.raises(RookeryError, match=said) as caught:
                reading()
            assert caught.value.cause is Cause.CORRUPT
        if said != "header":
            assert apart.blobs.read(_id(5), place, 0, 100) == _octets(100)  # in a part that is good

    @pytest.mark.parametrize("left", [0, 10, head_size(3 * PART), head_size(3 * PART) + PART, -1])
    def test_one_that_was_cut_off_is_rotten(self, apart: "Apart", left: int) -> None:
        place = apart.put(_id(5), _octets(3 * PART))
        apart.replace(_id(5), apart.octets(_id(5))[:left])
        for offset, length in ((0, None), (2 * PART + 7, PART)):
            with pytest.raises(RookeryError, match="too early") as caught:
                apart.blobs.read(_id(5), place, offset, length)
            assert caught.value.cause is Cause.CORRUPT

    def test_the_octets_of_another_are_not_taken_for_ones_own(self, apart: "Apart") -> None:
        place = apart.put(_id(5), b"five")
        apart.put(_id(6), b"six!")
        apart.replace(_id(5), apart.octets(_id(6)))
        with pytest.raises(RookeryError, match="header"):
            apart.blobs.read(_id(5), place)

    def test_all_are_found_on_their_shelves(self, apart: "Apart") -> None:
        ids = [_id(n) for n in (1, 2, 255, 256 + 2, 65536 * 7 + 2)]
        for blob in ids:
            apart.put(blob, b"x")
        assert [apart.blobs.shelf(n) for n in (0, 1, 2, 255)] == [[], [ids[0]], [ids[1], ids[3], ids[4]], [ids[2]]]

    def test_a_place_is_one_stores_only(self, apart: "Apart") -> None:
        apart.blobs.claim("this store", fresh=False)
        for fresh in (True, False):
            with pytest.raises(RookeryError) as caught:
                apart.blobs.claim("another store", fresh=fresh)
            assert caught.value.cause is Cause.IN_USE

    def test_where_the_mark_is_gone_no_new_one_is_made_for_mail_that_was_there(self, apart: "Apart") -> None:
        apart.forget_mark()
        with pytest.raises(RookeryError, match="mounted") as caught:
            apart.blobs.claim("this store", fresh=False)
        assert caught.value.cause is Cause.UNAVAILABLE

    def test_a_body_is_not_taken_for_lost_where_nothing_is(self, apart: "Apart") -> None:
        place = apart.put(_id(5), b"five")
        apart.blobs.delete_many([_id(5)])
        with pytest.raises(LookAgain):
            apart.blobs.read(_id(5), place)
        apart.forget_mark()
        with pytest.raises(RookeryError) as caught:
            apart.blobs.read(_id(5), place)
        assert caught.value.cause is Cause.UNAVAILABLE


class Apart:
    """A place beside the database, and what happens to it by other hands."""

    def __init__(self, blobs: PartedBlobs, folder: Path, objects: ObjectStore | None) -> None:
        self.blobs, self._folder, self._objects = blobs, folder, objects

    def put(self, blob: BlobId, data: bytes) -> Place:
        return self.blobs.put_batch([(blob, _staged(self.blobs, data))])[blob]

    def _path(self, blob: BlobId) -> Path:
        [path] = self._folder.rglob(blob.hex())
        return path

    def _key(self, blob: BlobId) -> str:
        assert self._objects is not None
        found = [entry["path"] for page in obstore.list(self._objects) for entry in page]
        [key] = [path for path in found if path.endswith(blob.hex())]
        return key

    def octets(self, blob: BlobId) -> bytes:
        if self._objects is None:
            return self._path(blob).read_bytes()
        return bytes(obstore.get(self._objects, self._key(blob)).bytes())

    def replace(self, blob: BlobId, data: bytes) -> None:
        if self._objects is None:
            self._path(blob).write_bytes(data)
        else:
            obstore.put(self._objects, self._key(blob), data)

    def forget_mark(self) -> None:
        if self._objects is None:
            (self._folder / MARK).unlink()
        else:
            obstore.delete(self._objects, MARK)


class TestTheFolder:
    def test_files_appear_whole_under_a_name_in_two_levels(self, tmp_path: Path) -> None:
        blobs = _folder(tmp_path)
        blobs.put_batch([(_id(0x1234), _staged(blobs, b"x"))])
        names = sorted(str(path.relative_to(tmp_path / "shared")) for path in (tmp_path / "shared").rglob("*"))
        assert names == ["34", "34/12", f"34/12/{_id(0x1234).hex()}", MARK]
        blobs.close()

    def test_what_an_interrupted_writing_left_is_on_its_shelf(self, tmp_path: Path) -> None:
        blobs = _folder(tmp_path)
        folder = tmp_path / "shared" / "34" / "12"
        folder.mkdir(parents=True)
        (folder / f"{_id(0x1234).hex()}.new").write_bytes(b"half")
        assert blobs.shelf(0x34) == [_id(0x1234)]
        blobs.delete_many(blobs.shelf(0x34))
        assert list(folder.iterdir()) == []
        blobs.close()

    def test_nothing_is_written_beneath_a_place_where_nothing_is_mounted(self, tmp_path: Path) -> None:
        blobs = _folder(tmp_path)
        (tmp_path / "shared" / MARK).unlink()
        with pytest.raises(RookeryError) as caught:
            blobs.put_batch([(_id(1), _staged(blobs, b"x"))])
        assert caught.value.cause is Cause.UNAVAILABLE
        assert list((tmp_path / "shared").iterdir()) == []
        blobs.close()

    def test_one_that_fails_keeps_none_of_its_batch(self, tmp_path: Path) -> None:
        blobs = _folder(tmp_path)
        (tmp_path / "shared" / "02").write_bytes(b"in the way")
        with pytest.raises(RookeryError):
            blobs.put_batch([(_id(n), _staged(blobs, b"x")) for n in (1, 2, 3)])
        blobs.close()  # when the others have been removed
        assert [blobs.shelf(n) for n in (1, 2, 3)] == [[], [], []]

    def test_what_was_put_is_there_after_a_power_cut_at_any_step(self, tmp_path: Path) -> None:
        (tmp_path / "cuts").mkdir()
        bodies = {_id(1): b"one", _id(2): b"two"}

        def scenario(disk: FaultyDisk) -> None:
            root = disk.root / "shared"
            FaultyFiles(disk).make_folder(root)
            blobs = FolderBlobs(root, disk.root / "staging", FaultyFiles(disk))
            blobs.claim("this store", fresh=True)
            try:
                for blob, data in bodies.items():
                    made = root / f"{blob[-1]:02x}"
                    for folder in (made, made / "00"):  # by another machine, which has not flushed them yet
                        disk.make_folder(folder)
                        folder.mkdir()
                    place = blobs.put_batch([(blob, _staged(blobs, data))])[blob]
                    disk.promises.append((blob, place))
            finally:
                blobs.close()

        def check(folder: Path, promises: Sequence[object]) -> None:
            blobs = FolderBlobs(folder / "shared", tmp_path / "staging")
            assert not promises or blobs.claim("this store", fresh=False) is None
            for blob, place in promises:  # type: ignore[misc]
                assert blobs.read(blob, place) == bodies[blob]
                assert blob in blobs.shelf(blob[-1])
            blobs.close()

        assert at_every_step(scenario, check, tmp_path / "cuts") > 20


class TestTheService:
    def test_one_that_is_away_is_said_so_soon_and_without_secrets(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(object_blobs, "RETRIES", 0)
        options = {"endpoint": "http://127.0.0.1:9", "region": "x", "access_key_id": "AKI", "secret_access_key": "HIDE"}
        blobs = ObjectBlobs(connect("s3://bucket/mail", options), "s3://bucket/mail", tmp_path / "staging")
        with pytest.raises(RookeryError) as caught:
            blobs.put_batch([(_id(1), _staged(blobs, b"x"))])
        assert caught.value.refusal == Refusal(Cause.UNAVAILABLE, "the message store cannot be written now")
        with pytest.raises(RookeryError, match="the message store cannot be read now"):
            blobs.read(_id(1), Place(0, head_size(1), 1, 0))
        with pytest.raises(RookeryError, match="s3://bucket/mail cannot be listed") as caught:
            blobs.shelf(1)
        assert "AKI" not in str(caught.value)
        assert "HIDE" not in str(caught.value)
        blobs.close()

    @pytest.mark.parametrize(
        ("url", "options"),
        [
            ("s3://me:secret@bucket/mail", {}),
            ("file:///var/mail", {}),
            ("memory:///", {}),
            ("s3://bucket", {"endpont": "x"}),
        ],
    )
    def test_what_cannot_be_one_is_refused(self, url: str, options: dict[str, str]) -> None:
        with pytest.raises(RookeryError) as caught:
            connect(url, options)
        assert caught.value.cause is Cause.UNSUPPORTED
        assert "secret" not in str(caught.value)
