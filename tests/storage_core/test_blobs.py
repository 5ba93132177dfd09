"""Blobs: what is put is read back; what is rotten is named; what cannot be written spoils nothing else."""

import errno
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rookery.base.errors import Cause, RookeryError
from rookery.storage import blobs as blobs_module
from rookery.storage.blobs import LARGE, BlobStore, LookAgain, Place
from rookery.storage.files import DiskFiles
from rookery.storage.segments import DEFLATE, HEADER, Health
from rookery.storage.staging import MEMORY_EACH, Staged
from tests.faults.disk import FaultyDisk
from tests.faults.files import FaultyFiles
from tests.storage_core.conftest import blob_id, stage


@pytest.fixture
def blobs(tmp_path: Path) -> BlobStore:
    return BlobStore(tmp_path / "store", DiskFiles())


def put(blobs: BlobStore, *bodies: bytes, first: int = 1) -> list[Place]:
    items = [(blob_id(first + n), stage(blobs, body)) for n, body in enumerate(bodies)]
    places = blobs.put_batch(items)
    for _, staged in items:
        staged.release()
    return [places[blob] for blob, _ in items]


SIZES = [0, 1, 4096, MEMORY_EACH, MEMORY_EACH + 1, LARGE - 1, LARGE, LARGE + 1, 3 * LARGE + 17]


class TestReading:
    @pytest.mark.parametrize("size", SIZES)
    def test_whole_parts_and_chunks(self, blobs: BlobStore, size: int) -> None:
        body = bytes(n % 251 for n in range(1000)) * (size // 1000 + 1)
        body = body[:size]
        [place] = put(blobs, body)
        assert (place.segment == 0) == (size >= LARGE)
        assert blobs.read(blob_id(1), place) == body
        assert b"".join(blobs.chunks(blob_id(1), place)) == body
        for offset, length in ((0, 10), (size // 2, 70_000), (max(0, size - 3), 99), (size + 5, 5)):
            assert blobs.read(blob_id(1), place, offset, length) == body[offset : offset + length]
        assert blobs.read(blob_id(1), place, 7) == body[7:]
        for start, stop in ((0, 10), (size // 2, None), (5, size + 5), (7, max(7, size - 1))):
            assert b"".join(blobs.chunks(blob_id(1), place, start, stop)) == body[start:stop]

    def test_a_batch_of_all_kinds(self, blobs: BlobStore) -> None:
        bodies = [b"a" * size for size in SIZES]
        places = put(blobs, *bodies)
        assert blobs.read_many([(blob_id(n), place) for n, place in enumerate(places, 1)]) == bodies

    def test_one_staged_body_in_two_stores(self, blobs: BlobStore, tmp_path: Path) -> None:
        other = BlobStore(tmp_path / "other", DiskFiles())
        staged = stage(blobs, b"m" * (LARGE + 5))
        for store in (blobs, other):
            places = store.put_batch([(blob_id(1), staged)])
            assert store.read(blob_id(1), places[blob_id(1)]) == b"m" * (LARGE + 5)
        staged.release()

    def test_compressed(self, tmp_path: Path) -> None:
        store = BlobStore(tmp_path, DiskFiles(), compress=True)
        [place] = put(store, b"again and " * 1000)
        assert place.codec == DEFLATE
        assert place.length < 500
        assert BlobStore(tmp_path, DiskFiles()).read(blob_id(1), place, 6, 3) == b"and"

    def test_a_deleted_segment_says_look_again(self, blobs: BlobStore) -> None:
        [place] = put(blobs, b"one")
        assert blobs.read(blob_id(1), place) == b"one"
        blobs.seal()
        blobs.delete_segment(place.segment)
        with pytest.raises(LookAgain):
            blobs.read(blob_id(1), place)


class TestRot:
    @pytest.mark.parametrize("size", [5000, LARGE + 5000])
    @pytest.mark.parametrize("at", [-HEADER.size, -1, 0, 2500, -2])
    def test_one_wrong_octet_is_named_and_never_served(self, blobs: BlobStore, size: int, at: int) -> None:
        [place] = put(blobs, b"z" * size)
        segments, large = blobs.paths()
        path = segments / "00000001.seg" if place.segment else large / blob_id(1).hex()
        offset = place.offset + size - 1 if at == -2 else place.offset + at
        with path.open("r+b") as file:
            file.seek(offset)
            old = file.read(1)
            file.seek(offset)
            file.write(bytes([old[0] ^ 1]))
        for read in (
            lambda: blobs.read(blob_id(1), place),
            lambda: blobs.read(blob_id(1), place, 100, 10),
            lambda: list(blobs.chunks(blob_id(1), place)),
        ):
            with pytest.raises(RookeryError) as caught:
                read()
            assert caught.value.cause is Cause.CORRUPT
            assert blob_id(1).hex() in caught.value.what

    def test_a_scan_marks_it_and_goes_on(self, blobs: BlobStore) -> None:
        places = put(blobs, b"a" * 100, b"b" * 100, b"c" * 100)
        segments, _ = blobs.paths()
        with (segments / "00000001.seg").open("r+b") as file:
            file.seek(places[1].offset + 5)
            file.write(b"!")
        assert [record.health for record in blobs.scan(1)] == [Health.GOOD, Health.ROTTEN, Health.GOOD]

    def test_another_blob_at_the_place_is_rotten(self, blobs: BlobStore) -> None:
        places = put(blobs, b"a" * 100, b"b" * 100)
        with pytest.raises(RookeryError):
            blobs.read(blob_id(1), places[1])


class TestStarting:
    def _segment(self, tmp_path: Path) -> Path:
        return tmp_path / "store" / "segments" / "00000001.seg"

    @pytest.mark.parametrize("torn", [1, HEADER.size - 1, HEADER.size, HEADER.size + 50])
    def test_a_torn_tail_is_cut(self, blobs: BlobStore, tmp_path: Path, torn: int) -> None:
        [one] = put(blobs, b"one" * 50)
        end = self._segment(tmp_path).stat().st_size
        put(blobs, b"two" * 50, first=2)
        blobs.close()
        with self._segment(tmp_path).open("r+b") as file:
            file.truncate(end + torn)
        again = BlobStore(tmp_path / "store", DiskFiles())
        assert self._segment(tmp_path).stat().st_size == end
        [three] = put(again, b"three" * 50, first=3)
        assert three.segment == 1
        assert again.read(blob_id(1), one) == b"one" * 50
        assert again.read(blob_id(3), three) == b"three" * 50

    @pytest.mark.parametrize("offset", [0, HEADER.size + 10])
    def test_damage_before_good_records_is_no_torn_tail(self, blobs: BlobStore, tmp_path: Path, offset: int) -> None:
        """Rot in the middle must not cost the mail behind it."""
        places = put(blobs, b"one" * 50, b"two" * 50, b"three" * 50)
        blobs.close()
        with self._segment(tmp_path).open("r+b") as file:
            file.seek(places[1].offset - HEADER.size + offset)
            file.write(b"\0\0\0\0")
        again = BlobStore(tmp_path / "store", DiskFiles())
        assert again.read(blob_id(1), places[0]) == b"one" * 50
        assert again.read(blob_id(3), places[2]) == b"three" * 50
        [four] = put(again, b"four", first=4)
        assert again.read(blob_id(4), four) == b"four"
        assert again.read(blob_id(3), places[2]) == b"three" * 50

    def test_nothing_the_index_knows_is_cut(self, blobs: BlobStore, tmp_path: Path) -> None:
        [place] = put(blobs, b"one" * 50)
        blobs.close()
        with self._segment(tmp_path).open("r+b") as file:
            file.seek(place.offset)
            file.write(b"!")
        BlobStore(tmp_path / "store", DiskFiles(), known_end=lambda segment: place.offset + place.length).close()
        assert self._segment(tmp_path).stat().st_size == place.offset + place.length

    @settings(max_examples=60, deadline=None)
    @given(junk=st.binary(max_size=300))
    def test_any_tail_is_survived(self, tmp_path_factory: pytest.TempPathFactory, junk: bytes) -> None:
        folder = tmp_path_factory.mktemp("tail")
        store = BlobStore(folder, DiskFiles())
        [one] = put(store, b"one" * 50)
        store.close()
        with (folder / "segments" / "00000001.seg").open("ab") as file:
            file.write(junk)
        again = BlobStore(folder, DiskFiles())
        [two] = put(again, b"two" * 50, first=2)
        assert again.read(blob_id(1), one) == b"one" * 50
        assert again.read(blob_id(2), two) == b"two" * 50
        again.close()

    def test_segments_end(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(blobs_module, "SEGMENT_LIMIT", 1000)
        store = BlobStore(tmp_path, DiskFiles())
        places = [put(store, b"x" * 400, first=n)[0] for n in range(1, 8)]
        assert len({place.segment for place in places}) == 3
        assert [store.read(blob_id(n), place) for n, place in enumerate(places, 1)] == [b"x" * 400] * 7

    def test_staging_is_emptied(self, tmp_path: Path) -> None:
        store = BlobStore(tmp_path, DiskFiles())
        staged = stage(store, b"x" * (MEMORY_EACH + 1))
        assert len(list((tmp_path / "staging").iterdir())) == 1
        BlobStore(tmp_path, DiskFiles())
        assert not list((tmp_path / "staging").iterdir())
        staged.release()


TROUBLES = [(errno.ENOSPC, Cause.DISK_FULL), (errno.EIO, Cause.UNAVAILABLE), (errno.EROFS, Cause.UNAVAILABLE)]


class TestTrouble:
    @pytest.mark.parametrize(
        ("number", "cause"),
        [(errno.ENOSPC, Cause.DISK_FULL), (errno.EROFS, Cause.UNAVAILABLE), (errno.EIO, Cause.UNAVAILABLE)],
    )
    @pytest.mark.parametrize("kind", ["write", "flush", "create", "sync"])
    @pytest.mark.parametrize("size", [300, LARGE + 1])
    def test_refused_and_afterwards_well(
        self, disk: FaultyDisk, kind: str, number: int, cause: Cause, size: int
    ) -> None:
        store = BlobStore(disk.root / "store", FaultyFiles(disk))
        [before] = put(store, b"before")
        if kind in ("create", "sync"):
            store.seal()
        staged = [(blob_id(n), stage(store, b"x" * size)) for n in (2, 3)]
        disk.trouble(number, kind)
        for _ in range(3):
            with pytest.raises(RookeryError) as caught:
                store.put_batch(staged)
            assert caught.value.cause is cause
        disk.heal()
        places = put(store, b"after" * 100, b"y" * size, first=4)
        again = BlobStore(disk.root / "store", FaultyFiles(disk))
        for one in (store, again):
            assert one.read(blob_id(1), before) == b"before"
            assert one.read(blob_id(4), places[0]) == b"after" * 100
            assert one.read(blob_id(5), places[1]) == b"y" * size

    def test_a_full_disk_leaves_no_litter(self, disk: FaultyDisk) -> None:
        store = BlobStore(disk.root / "store", FaultyFiles(disk))
        put(store, b"before")
        size = store.segment_size(1)
        disk.trouble(errno.ENOSPC, "write")
        for n in range(10):
            with pytest.raises(RookeryError):
                put(store, b"x" * 5000, first=10 + n)
        assert store.segments() == [1]
        assert store.segment_size(1) == size

    def test_after_a_failed_flush_the_segment_is_sealed(self, disk: FaultyDisk) -> None:
        store = BlobStore(disk.root / "store", FaultyFiles(disk))
        put(store, b"before")
        disk.trouble(errno.EIO, "flush")
        with pytest.raises(RookeryError):
            put(store, b"lost", first=2)
        assert store.current == 0
        disk.heal()
        [place] = put(store, b"after", first=3)
        assert place.segment == 2


class TestHolding:
    def test_a_released_body_stays_while_a_writer_holds_it(self, blobs: BlobStore) -> None:
        for size in (100, MEMORY_EACH + 1):
            staged = stage(blobs, b"h" * size)
            staged.hold()
            staged.release()
            staged.release()
            assert self._read(staged) == b"h" * size
            staged.drop()
            assert blobs._area.in_memory == 0
            assert not list(blobs._area.folder.iterdir())

    @staticmethod
    def _read(staged: Staged) -> bytes:
        return b"".join(staged.chunks())
