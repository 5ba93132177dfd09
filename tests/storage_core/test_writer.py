"""Group commit: one flush for all that waits, one bad item spoils no other, everybody is answered."""

import asyncio
import errno
import threading
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from rookery.base.clock import ManualClock
from rookery.base.errors import Cause, Refusal, RookeryError
from rookery.base.ids import BlobId
from rookery.base.log import captured
from rookery.storage.blobs import BlobStore
from rookery.storage.engine import Transaction
from rookery.storage.files import DiskFiles
from rookery.storage.gate import Gate
from rookery.storage.group_commit import Places, Plain, Rule
from rookery.storage.sqlite import SqliteDatabase
from rookery.storage.writer import Writer
from tests.faults.disk import FaultyDisk
from tests.faults.driver import faulty_vfs
from tests.faults.files import FaultyFiles
from tests.storage_core.conftest import MIGRATIONS, blob_id, insert_rule, stage

Pair = tuple[str, int]
TROUBLES = [(errno.ENOSPC, Cause.DISK_FULL), (errno.EIO, Cause.UNAVAILABLE), (errno.EROFS, Cause.UNAVAILABLE)]


class Rules:
    """`put`: negative values are refused, 13 raises after writing, 14 raises a refusal. Counts its calls."""

    def __init__(self) -> None:
        self.calls: list[list[Pair]] = []
        self.put: Rule[Pair, int] = Rule("put", self._put)

    def _put(self, tx: Transaction, items: Sequence[Pair]) -> Sequence[int | Refusal]:
        self.calls.append(list(items))
        results: list[int | Refusal] = []
        for name, value in items:
            if value < 0:
                results.append(Refusal(Cause.INVALID, "negative"))
                continue
            tx.insert_many("pair", ("name", "value"), [(name, value)])
            if value == 13:
                raise ZeroDivisionError
            if value == 14:
                raise RookeryError(Cause.OVER_QUOTA, "fourteen")
            results.append(value)
        return results


class Recorder(Plain):
    """A Batching that writes down what it is told."""

    __slots__ = ("told",)

    def __init__(self) -> None:
        super().__init__()
        self.told: list[str] = []

    def begin(self, tx: Transaction, places: Places, items: Sequence[object]) -> None:
        super().begin(tx, places, items)
        self.told.append(f"begin {len(items)}")

    def finish(self, tx: Transaction) -> object:
        return "made"

    def committed(self, made: object) -> None:
        self.told.append(f"committed {made}")

    def failed(self, items: Sequence[object]) -> None:
        self.told.append(f"failed {len(items)}")


@pytest.fixture
def rules() -> Rules:
    return Rules()


@pytest.fixture
async def writer(database: SqliteDatabase) -> AsyncIterator[Writer]:
    made = Writer(database, None, Gate(), limit_bytes=1 << 20, clock=ManualClock(), batching=Recorder())
    yield made
    await made.close()


async def together(writer: Writer, rule: Rule[Pair, int], items: Sequence[Pair]) -> list[int | Refusal]:
    """All in one batch: the thread is kept busy until they wait."""
    begun, go = threading.Event(), threading.Event()

    def wait(tx: Transaction) -> None:
        begun.set()
        go.wait(10)

    busy = asyncio.create_task(writer.exclusive(wait))
    await asyncio.to_thread(begun.wait, 10)
    answers: dict[int, int | Refusal] = {}
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def answered(index: int, result: int | Refusal) -> None:
        answers[index] = result
        if len(answers) == len(items):
            done.set_result(None)

    for index, item in enumerate(items):
        writer.submit(rule, item, done=lambda result, index=index: answered(index, result))  # type: ignore[misc]
    go.set()
    await asyncio.gather(busy, done)
    return [answers[index] for index in range(len(items))]


def names(database: SqliteDatabase) -> set[str]:
    with database.read() as reader:
        return {row[0] for row in reader.rows("SELECT name FROM pair")}


async def test_all_that_waits_is_one_call(writer: Writer, rules: Rules, database: SqliteDatabase) -> None:
    assert await together(writer, rules.put, [("a", 1), ("b", -1), ("c", 3)]) == [
        1,
        Refusal(Cause.INVALID, "negative"),
        3,
    ]
    assert rules.calls == [[("a", 1), ("b", -1), ("c", 3)]]
    assert names(database) == {"a", "c"}


async def test_an_answer_that_cannot_be_taken_keeps_nobody_from_his(writer: Writer, rules: Rules) -> None:
    def broken(result: int | Refusal) -> None:
        raise ZeroDivisionError

    with captured() as events:
        writer.submit(rules.put, ("broken", 1), done=broken)
        writer.submit(rules.put, ("broken too", 13), done=broken)
        assert await asyncio.wait_for(writer.run(rules.put, ("a", 1)), 10) == 1
    failed = [fields for _, event, fields in events if event == "answer-failed"]
    assert [(fields["rule"], fields["error"]) for fields in failed] == [("put", "ZeroDivisionError")] * 2
    assert writer.waiting == 0


async def test_one_that_raises_spoils_no_other(writer: Writer, rules: Rules, database: SqliteDatabase) -> None:
    answers = await together(writer, rules.put, [("a", 1), ("bad", 13), ("c", 3), ("quota", 14), ("a", 5), ("e", 6)])
    causes = [answer.cause if isinstance(answer, Refusal) else answer for answer in answers]
    assert causes == [1, Cause.UNAVAILABLE, 3, Cause.OVER_QUOTA, Cause.UNAVAILABLE, 6]
    assert names(database) == {"a", "c", "e"}
    assert isinstance(writer._batching, Recorder)
    assert writer._batching.told.count("committed made") == 4 - 1 + 1  # the busy one, and a, c, e each for itself


async def test_run_raises_what_was_refused(writer: Writer, rules: Rules) -> None:
    assert await writer.run(rules.put, ("a", 1)) == 1
    with pytest.raises(RookeryError) as caught:
        await writer.run(rules.put, ("a", -1))
    assert caught.value.refusal == Refusal(Cause.INVALID, "negative")


async def test_a_caller_that_went_away_is_no_trouble(writer: Writer, rules: Rules, database: SqliteDatabase) -> None:
    task = asyncio.create_task(writer.run(rules.put, ("a", 1)))
    await asyncio.sleep(0)
    task.cancel()
    assert await writer.run(rules.put, ("b", 2)) == 2
    assert names(database) == {"a", "b"}


async def test_callers_wait_for_room(database: SqliteDatabase, rules: Rules) -> None:
    writer = Writer(database, None, Gate(), limit_bytes=1000, clock=ManualClock())
    answers = await asyncio.gather(*(writer.run(rules.put, (f"n{n}", n + 20), weight=600) for n in range(50)))
    assert answers == [n + 20 for n in range(50)]
    assert writer.waiting == 0
    await writer.close()


async def test_after_closing_work_is_refused(database: SqliteDatabase, rules: Rules) -> None:
    writer = Writer(database, None, Gate(), limit_bytes=1000, clock=ManualClock())
    last = asyncio.create_task(writer.run(rules.put, ("last", 1)))
    await asyncio.sleep(0)
    await writer.close()
    assert await last == 1
    with pytest.raises(RookeryError) as caught:
        await writer.run(rules.put, ("late", 1))
    assert caught.value.cause is Cause.UNAVAILABLE


async def test_a_body_released_too_early_is_stored_whole(tmp_path: Path, database: SqliteDatabase) -> None:
    """A session that is cancelled gives its body up while the writer still has work with it."""
    blobs, plain = BlobStore(tmp_path / "store", DiskFiles()), Plain()
    writer = Writer(database, blobs, Gate(), limit_bytes=1 << 20, clock=ManualClock(), batching=plain)
    staged = stage(blobs, b"body" * 100)
    task = asyncio.create_task(writer.run(insert_rule(plain), (blob_id(1), 400), bodies=[(blob_id(1), staged)]))
    await asyncio.sleep(0)
    task.cancel()
    staged.release()
    await writer.exclusive(lambda tx: None)
    with database.read() as reader:
        lengths = reader.rows("SELECT length FROM blob")
    assert lengths == [(400,)]
    assert blobs._area.in_memory == 0
    await writer.close()


class TestTrouble:
    async def test_a_full_disk_refuses_bodies_and_nobody_else(self, disk: FaultyDisk, rules: Rules) -> None:
        database = SqliteDatabase(disk.root / "index.db", MIGRATIONS)
        blobs, plain = BlobStore(disk.root / "store", FaultyFiles(disk)), Plain()
        writer = Writer(database, blobs, Gate(), limit_bytes=1 << 20, clock=ManualClock(), batching=plain)
        staged = stage(blobs, b"x" * 500)
        disk.trouble(errno.ENOSPC, "write")
        body, other = await asyncio.gather(
            writer.run(insert_rule(plain), (blob_id(1), 500), bodies=[(blob_id(1), staged)]),
            writer.run(rules.put, ("a", 1)),
            return_exceptions=True,
        )
        assert isinstance(body, RookeryError)
        assert body.cause is Cause.DISK_FULL
        assert other == 1
        disk.heal()
        await writer.run(insert_rule(plain), (blob_id(1), 500), bodies=[(blob_id(1), staged)])
        await writer.close()
        database.close()

    @pytest.mark.parametrize(
        ("number", "cause"),
        [(errno.ENOSPC, Cause.DISK_FULL), (errno.EIO, Cause.UNAVAILABLE), (errno.EROFS, Cause.UNAVAILABLE)],
    )
    @pytest.mark.parametrize("kind", ["write", "flush"])
    async def test_a_failing_database_refuses_all_and_comes_back(
        self, disk: FaultyDisk, rules: Rules, kind: str, number: int, cause: Cause
    ) -> None:
        with faulty_vfs(disk) as vfs:
            database = SqliteDatabase(disk.root / "index.db", MIGRATIONS, vfs=vfs)
            recorder = Recorder()
            writer = Writer(database, None, Gate(), limit_bytes=1 << 20, clock=ManualClock(), batching=recorder)
            assert await writer.run(rules.put, ("before", 1)) == 1
            disk.trouble(number, kind)
            for n in range(3):
                with pytest.raises(RookeryError) as caught:
                    await writer.run(rules.put, (f"during{n}", 1))
                assert caught.value.cause is cause
            assert names(database) >= {"before"}  # reading goes on
            disk.heal()
            assert await writer.run(rules.put, ("after", 2)) == 2
            found = names(database)
            assert found >= {"before", "after"}
            if kind == "write":  # a commit whose flush failed may count all the same: nobody can say
                assert found == {"before", "after"}
            assert recorder.told.count("failed 1") == 3
            assert database.problems() == []
            await writer.close()
            database.close()

    async def test_a_full_disk_in_the_middle_of_a_rule(self, disk: FaultyDisk) -> None:
        """SQLite rolls back by itself; a rule that passes over the error must not make half a commit of the rest."""
        with faulty_vfs(disk) as vfs:
            database = SqliteDatabase(disk.root / "index.db", MIGRATIONS, vfs=vfs)
            with database.write() as tx:
                tx.run("PRAGMA cache_size = 1")
            writer = Writer(database, None, Gate(), limit_bytes=1 << 20, clock=ManualClock())

            def careless(tx: Transaction, items: Sequence[int]) -> list[int | Refusal]:
                for n in range(2000):
                    try:
                        tx.run("INSERT INTO pair (name, value) VALUES (?, 1)", f"{n:0500d}")
                    except RookeryError:
                        disk.heal()
                return [1 for _ in items]

            disk.trouble(errno.ENOSPC, "write")
            with pytest.raises(RookeryError) as caught:
                await writer.run(Rule("careless", careless), 1)
            assert caught.value.cause is Cause.DISK_FULL
            assert names(database) == set()
            await writer.close()
            database.close()


async def test_bodies_of_one_batch_are_flushed_once(disk: FaultyDisk, database: SqliteDatabase) -> None:
    blobs, plain = BlobStore(disk.root / "store", FaultyFiles(disk)), Plain()
    writer = Writer(database, blobs, Gate(), limit_bytes=1 << 20, clock=ManualClock(), batching=plain)
    await writer.exclusive(lambda tx: None)
    staged = [(blob_id(n), stage(blobs, b"x" * 50)) for n in range(20)]
    before = len([line for line in disk.log if "flush" in line])
    rule: Rule[tuple[BlobId, int], BlobId] = insert_rule(plain)
    tasks = [writer.run(rule, (blob, 50), bodies=[(blob, body)]) for blob, body in staged]
    assert len(await asyncio.gather(*tasks)) == 20
    assert len([line for line in disk.log if "flush" in line]) - before <= 3
    await writer.close()


async def test_a_slow_server_is_not_a_hung_one(database: SqliteDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = ManualClock()
    writer = Writer(database, None, Gate(), limit_bytes=1000, clock=clock)
    began, go_on = threading.Event(), threading.Event()
    writing: list[int] = []

    def work(tx: Transaction, items: Sequence[None]) -> list[None]:
        writing.append(threading.get_ident())
        began.set()
        go_on.wait(20)
        return [None for _ in items]

    assert writer.stuck() == 0.0
    running = asyncio.create_task(writer.run(Rule("slow", work), None))
    assert await asyncio.to_thread(began.wait, 20)
    clock.advance(3)
    assert writer.stuck() == 3.0
    monkeypatch.setattr(database, "answered", lambda thread: int([thread] == writing))
    assert writer.stuck() == 0.0
    clock.advance(2)
    assert writer.stuck() == 2.0
    go_on.set()
    await running
    await writer.close()
    assert writer.stuck() == 0.0
