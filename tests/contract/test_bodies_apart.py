"""Bodies in a place of their own: in a shared folder, in an object store."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import obstore
import pytest
from obstore.store import MemoryStore, ObjectStore

from rookery.base.errors import Cause, Refusal, RookeryError
from rookery.base.ids import BlobId
from rookery.storage import object_blobs
from rookery.storage.blobs import LookAgain, Place
from rookery.storage.folder_blobs import FolderBlobs
from rookery.storage.object_blobs import ObjectBlobs, connect
from rookery.storage.parted import PART, head_size
from rookery.storage.parted_blobs import MARK, PartedBlobs
from tests import s3 as server
from tests.contract.bodies import body_id, in_bucket, in_folder, octets, staged
from tests.faults.disk import FaultyDisk
from tests.faults.driver import at_every_step
from tests.faults.files import FaultyFiles

bucket, s3 = server.bucket, server.s3


class TestPlacesOfTheirOwn:
    @pytest.fixture(params=["folder", "objects", "s3"])
    def apart(self, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator["Apart"]:
        if request.param == "folder":
            made = Apart(in_folder(tmp_path), tmp_path / "shared", None)
        else:
            objects = MemoryStore() if request.param == "objects" else request.getfixturevalue("s3")
            made = Apart(in_bucket(objects, tmp_path), Path(), objects)
        yield made
        made.blobs.close()

    @pytest.mark.parametrize(
        ("at", "said"),
        [(0, "header"), (20, "header"), (40, "header"), (-1, "part 2"), (head_size(3 * PART) + PART, "part 1")],
    )
    def test_a_rotten_part_is_named_and_never_served(self, apart: "Apart", at: int, said: str) -> None:
        place = apart.put(body_id(5), octets(3 * PART))
        data = bytearray(apart.octets(body_id(5)))
        data[at] ^= 1
        apart.replace(body_id(5), bytes(data))
        for reading in (
            lambda: apart.blobs.read(body_id(5), place),
            lambda: b"".join(apart.blobs.chunks(body_id(5), place)),
        ):
            with pytest.raises(RookeryError, match=said) as caught:
                reading()
            assert caught.value.cause is Cause.CORRUPT
        if said != "header":
            assert apart.blobs.read(body_id(5), place, 0, 100) == octets(100)  # in a part that is good

    @pytest.mark.parametrize("left", [0, 10, head_size(3 * PART), head_size(3 * PART) + PART, -1])
    def test_one_that_was_cut_off_is_rotten(self, apart: "Apart", left: int) -> None:
        place = apart.put(body_id(5), octets(3 * PART))
        apart.replace(body_id(5), apart.octets(body_id(5))[:left])
        for offset, length in ((0, None), (2 * PART + 7, PART)):
            with pytest.raises(RookeryError, match="too early") as caught:
                apart.blobs.read(body_id(5), place, offset, length)
            assert caught.value.cause is Cause.CORRUPT

    def test_the_octets_of_another_are_not_taken_for_ones_own(self, apart: "Apart") -> None:
        place = apart.put(body_id(5), b"five")
        apart.put(body_id(6), b"six!")
        apart.replace(body_id(5), apart.octets(body_id(6)))
        with pytest.raises(RookeryError, match="header"):
            apart.blobs.read(body_id(5), place)

    def test_all_are_found_on_their_shelves(self, apart: "Apart") -> None:
        ids = [body_id(n) for n in (1, 2, 255, 256 + 2, 65536 * 7 + 2)]
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
        place = apart.put(body_id(5), b"five")
        apart.blobs.delete_many([body_id(5)])
        with pytest.raises(LookAgain):
            apart.blobs.read(body_id(5), place)
        apart.forget_mark()
        with pytest.raises(RookeryError) as caught:
            apart.blobs.read(body_id(5), place)
        assert caught.value.cause is Cause.UNAVAILABLE


class Apart:
    """A place beside the database, and what happens to it by other hands."""

    def __init__(self, blobs: PartedBlobs, folder: Path, objects: ObjectStore | None) -> None:
        self.blobs, self._folder, self._objects = blobs, folder, objects

    def put(self, blob: BlobId, data: bytes) -> Place:
        return self.blobs.put_batch([(blob, staged(self.blobs, data))])[blob]

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
        blobs = in_folder(tmp_path)
        blobs.put_batch([(body_id(0x1234), staged(blobs, b"x"))])
        names = sorted(str(path.relative_to(tmp_path / "shared")) for path in (tmp_path / "shared").rglob("*"))
        assert names == ["34", "34/12", f"34/12/{body_id(0x1234).hex()}", MARK]
        blobs.close()

    def test_what_an_interrupted_writing_left_is_on_its_shelf(self, tmp_path: Path) -> None:
        blobs = in_folder(tmp_path)
        folder = tmp_path / "shared" / "34" / "12"
        folder.mkdir(parents=True)
        (folder / f"{body_id(0x1234).hex()}.new").write_bytes(b"half")
        assert blobs.shelf(0x34) == [body_id(0x1234)]
        blobs.delete_many(blobs.shelf(0x34))
        assert list(folder.iterdir()) == []
        blobs.close()

    def test_nothing_is_written_beneath_a_place_where_nothing_is_mounted(self, tmp_path: Path) -> None:
        blobs = in_folder(tmp_path)
        (tmp_path / "shared" / MARK).unlink()
        with pytest.raises(RookeryError) as caught:
            blobs.put_batch([(body_id(1), staged(blobs, b"x"))])
        assert caught.value.cause is Cause.UNAVAILABLE
        assert list((tmp_path / "shared").iterdir()) == []
        blobs.close()

    def test_one_that_fails_keeps_none_of_its_batch(self, tmp_path: Path) -> None:
        blobs = in_folder(tmp_path)
        (tmp_path / "shared" / "02").write_bytes(b"in the way")
        with pytest.raises(RookeryError):
            blobs.put_batch([(body_id(n), staged(blobs, b"x")) for n in (1, 2, 3)])
        blobs.close()  # when the others have been removed
        assert [blobs.shelf(n) for n in (1, 2, 3)] == [[], [], []]

    def test_what_was_put_is_there_after_a_power_cut_at_any_step(self, tmp_path: Path) -> None:
        (tmp_path / "cuts").mkdir()
        bodies = {body_id(1): b"one", body_id(2): b"two"}

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
                    place = blobs.put_batch([(blob, staged(blobs, data))])[blob]
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
            blobs.put_batch([(body_id(1), staged(blobs, b"x"))])
        assert caught.value.refusal == Refusal(Cause.UNAVAILABLE, "the message store cannot be written now")
        with pytest.raises(RookeryError, match="the message store cannot be read now"):
            blobs.read(body_id(1), Place(0, head_size(1), 1, 0))
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
