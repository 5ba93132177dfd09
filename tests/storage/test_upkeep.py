"""What is removed later, and that nothing grows without bound."""

import asyncio
import os
from pathlib import Path

import pytest

from rookery.base.clock import ManualClock
from rookery.base.errors import Cause, RookeryError
from rookery.base.log import captured
from rookery.base.numberset import NumberSet
from rookery.storage.append import Append
from rookery.storage.store import Store, StoreSettings
from rookery.storage.values import Flag, FlagMode, given_by
from rookery.storage.verify import Trouble
from tests.storage.conftest import BOTH, Mail, Opener, staged
from tests.storage.world import check_counters, check_references

DAY = 86_400
N = NumberSet.parse


def count(store: Store, table: str) -> int:
    with store.read() as reader:
        row = reader.row(f"SELECT count(*) FROM {table}")
    assert row is not None
    return int(row[0])


@BOTH
async def test_bodies_go_a_day_after_their_last_presence(store: Store, mail: Mail, clock: ManualClock) -> None:
    await mail.fill(3)
    await mail.opened.copy(1, N("2"), 2)
    await mail.opened.expunge(1, force=True)
    await store.upkeep.run()
    assert (count(store, "email"), count(store, "blob")) == (3, 3)
    clock.advance(DAY + 1)
    await store.upkeep.run()
    assert (count(store, "email"), count(store, "blob")) == (1, 1)
    [presence] = mail.opened.presences(2, N("1"))
    assert mail.opened.body(presence)
    assert (await store.verify()).findings == []


async def test_large_files_go_too(store: Store, mail: Mail, clock: ManualClock) -> None:
    await mail.append(b"x" * (1 << 20))
    assert len(store.blobs.large()) == 1
    await mail.opened.expunge(1, force=True)
    clock.advance(DAY + 1)
    await store.upkeep.run()
    assert store.blobs.large() == []


async def test_the_body_of_a_refused_message_goes_too(store: Store, mail: Mail, clock: ManualClock) -> None:
    await store.set_limits(mail.account, 10, 0)
    with pytest.raises(RookeryError):
        await mail.append(b"x" * (1 << 20))
    assert len(store.blobs.large()) == 1
    clock.advance(DAY + 1)
    await store.upkeep.run()
    assert store.blobs.large() == []


async def test_a_large_file_that_a_crash_left_goes_at_the_next_start(
    open_store: Opener, clock: ManualClock, tmp_path: Path
) -> None:
    store = await open_store()
    await store.close()
    (tmp_path / "store" / "large" / os.urandom(16).hex()).write_bytes(b"left over")
    store = await open_store()
    await store.upkeep.run()
    assert store.blobs.large() == []


@BOTH
async def test_a_mailbox_that_was_deleted_is_emptied(store: Store, mail: Mail, clock: ManualClock) -> None:
    box = await mail.opened.create_mailbox("work")
    await mail.fill(5, box.number)
    await mail.opened.copy(box.number, N("1"), 1)
    await mail.opened.delete_mailbox(box.number)
    await store.upkeep.run()
    assert (count(store, "presence"), count(store, "dropped")) == (1, 0)
    clock.advance(DAY + 1)
    await store.upkeep.run()
    assert count(store, "email") == 1
    with store.read() as reader:
        check_counters(reader)
        check_references(reader)


@BOTH
async def test_of_an_account_that_was_removed_only_a_tombstone_stays(
    store: Store, mail: Mail, clock: ManualClock
) -> None:
    await mail.fill(5)
    await mail.opened.set_flags(1, N("1:3"), FlagMode.ADD, int(Flag.SEEN), ("word",))
    await store.remove_account(mail.account)
    await store.upkeep.run()
    clock.advance(DAY + 1)
    await store.upkeep.run()
    for table in ("presence", "email", "change", "counter", "mailbox", "subscription", "keyword", "blob", "dropped"):
        assert count(store, table) == 0, table
    assert count(store, "account") == 1
    with pytest.raises(RookeryError):
        await store.create_account(mail.account)


async def test_segments_that_are_mostly_dead_are_emptied(
    open_store: Opener, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await open_store()
    mail = await make_mail(store)
    body = os.urandom(20_000)
    await mail.fill(20, body=body)
    store.blobs.seal()
    await mail.fill(1, body=body)
    assert len(store.blobs.segments()) == 2
    old = [p.blob for p in mail.opened.presences(1, N("1:20"))]
    places = {blob: store.place(blob) for blob in old}
    await mail.opened.expunge(1, N("1:5,7:15,17:20"), force=True)
    clock.advance(DAY + 1)
    await store.upkeep.run()
    assert len(store.blobs.segments()) == 1
    for presence in mail.opened.presences(1, N("1:30")):
        assert mail.opened.body(presence) == body
    assert store.place(old[5]) != places[old[5]]
    report = await store.verify()
    assert report.findings == []
    assert report.dead == 0


async def make_mail(store: Store) -> Mail:
    account = b"m" * 16
    await store.create_account(account)
    return Mail(store, account, await store.open_account(account))


async def test_a_late_reader_looks_its_place_up_once_more(store: Store, mail: Mail, clock: ManualClock) -> None:
    await mail.fill(4, body=b"x" * 1000)
    store.blobs.seal()
    await mail.fill(1)
    [presence] = mail.opened.presences(1, N("1"))
    stale = store.place(presence.blob)
    original = store.bodies.place
    answers = [stale]
    store.bodies.place = lambda blob: answers.pop() if answers else original(blob)  # type: ignore[method-assign]
    await mail.opened.expunge(1, N("2:4"), force=True)
    clock.advance(DAY + 1)
    await store.upkeep.run()
    answers[:] = [stale]
    assert mail.opened.body(presence) == b"x" * 1000
    assert answers == []


async def test_a_rotten_record_is_named_and_kept(store: Store, mail: Mail, clock: ManualClock, tmp_path: Path) -> None:
    await mail.fill(4, body=b"x" * 1000)
    store.blobs.seal()
    await mail.fill(1)
    [presence] = mail.opened.presences(1, N("2"))
    place = store.place(presence.blob)
    path = tmp_path / "store" / "segments" / f"{place.segment:08d}.seg"
    with path.open("r+b") as file:
        file.seek(place.offset + 500)
        file.write(b"y")
    with pytest.raises(RookeryError) as caught:
        mail.opened.body(presence)
    assert caught.value.cause is Cause.CORRUPT
    assert presence.blob.hex() in caught.value.what
    await mail.opened.expunge(1, N("1,3,4"), force=True)
    clock.advance(DAY + 1)
    await store.upkeep.run()
    assert path.exists()
    report = await store.verify()
    assert [f.trouble for f in report.findings] == [Trouble.ROTTEN]
    assert [(m.mailbox, m.uid) for m in report.findings[0].messages] == [("INBOX", 2)]
    assert "blob" not in report.findings[0].what, "where and what say each their own"
    assert not report.sound


async def test_verify_finds_what_is_wrong(store: Store, mail: Mail, tmp_path: Path) -> None:
    await mail.fill(3)
    await mail.append(b"x" * (1 << 20))
    report = await store.verify()
    assert (report.findings, report.accounts, report.blobs) == ([], 1, 4)

    def spoil(tx) -> None:  # type: ignore[no-untyped-def]
        tx.run("UPDATE counter SET unseen = 9 WHERE mailbox = 1")
        tx.run("UPDATE counter SET size = size + 1 WHERE mailbox = 0")
        tx.run("DELETE FROM blob WHERE blob IN (SELECT blob FROM email WHERE uid = 1)")
        tx.run("DELETE FROM email WHERE uid = 2")
        tx.run("UPDATE blob SET segment = 77 WHERE blob IN (SELECT blob FROM email WHERE uid = 3)")

    await store.exclusive(spoil)
    for name in os.listdir(tmp_path / "store" / "large"):
        (tmp_path / "store" / "large" / name).unlink()
    (tmp_path / "store" / "large" / ("ab" * 16)).write_bytes(b"")
    found = [finding.trouble for finding in (await store.verify()).findings]
    assert found.count(Trouble.MISSING) == 2
    assert found.count(Trouble.ORPHAN) == 1
    assert found.count(Trouble.DANGLING) == 2
    assert Trouble.COUNTER in found


async def test_a_snapshot_under_load_is_whole(open_store: Opener, tmp_path: Path) -> None:
    store = await open_store()
    mail = await make_mail(store)
    await mail.fill(20)
    await mail.append(b"x" * (1 << 20))
    store.blobs.seal()
    stop = asyncio.Event()

    async def load() -> None:
        while not stop.is_set():
            await mail.append(os.urandom(500))

    loading = asyncio.ensure_future(load())
    await store.snapshot(tmp_path / "copy")
    stop.set()
    await loading
    with pytest.raises(RookeryError):
        await store.snapshot(tmp_path / "copy")
    await store.close()
    copy = await open_store(tmp_path / "copy")
    assert (await copy.verify()).findings == []
    opened = await copy.open_account(mail.account)
    held = opened.presences(1, N("1:1000000"))
    assert len(held) >= 21
    for presence in held:
        assert len(opened.body(presence)) == presence.size


@BOTH
async def test_the_change_log_is_trimmed_and_says_so(open_store: Opener, clock: ManualClock) -> None:
    store = await open_store(settings=StoreSettings(changes_days=10, changes_rows=20, ballast=1 << 20))
    mail = await make_mail(store)
    await mail.fill(1)
    start = mail.opened.modseq
    for n in range(30):
        await mail.opened.set_flags(1, N("1"), FlagMode.ADD if n % 2 else FlagMode.REPLACE, n % 2)
    await store.upkeep.run()
    assert count(store, "change") == 20
    mail.opened.reload()
    with pytest.raises(RookeryError) as caught:
        mail.opened.changes(start)
    assert caught.value.cause is Cause.NOT_FOUND
    assert len(mail.opened.changes(mail.opened.modseq - 20)) == 20
    clock.advance(11 * DAY)
    await store.upkeep.run()
    assert count(store, "change") == 0


@BOTH
async def test_delivery_ids_are_forgotten(store: Store, mail: Mail, clock: ManualClock) -> None:
    for n in range(5):
        body = staged(store, b"x")
        await store.append(Append(mail.account, body, delivery_id=f"00{n}/alice"))
    await store.forget_deliveries("003")
    await store.upkeep.run()
    assert count(store, "delivery") == 2
    body = staged(store, b"x")
    assert (await store.append(Append(mail.account, body, delivery_id="003/alice"))).duplicate
    clock.advance(31 * DAY)
    await store.upkeep.run()
    assert count(store, "delivery") == 0


@BOTH
async def test_delivery_ids_of_others_are_forgotten_by_age(store: Store, mail: Mail, clock: ManualClock) -> None:
    async def give(*givers: str) -> None:
        for giver in givers:
            await store.append(Append(mail.account, staged(store, b"x"), delivery_id=given_by(giver, "001/alice")))

    def kept() -> list[str]:
        with store.read() as reader:
            return [row[0] for row in reader.rows("SELECT delivery FROM delivery ORDER BY delivery")]

    await give("b2", "b2.example", "+south")
    clock.advance(20 * DAY)
    await store.append(Append(mail.account, staged(store, b"x"), delivery_id="009/alice"))
    await give("b1", "b20")
    await store.forget_deliveries("zzz")
    await store.upkeep.run()
    assert kept() == [given_by(giver, "001/alice") for giver in ("+south", "b1", "b2.example", "b2", "b20")]
    clock.advance(11 * DAY)
    await store.upkeep.run()
    assert kept() == [given_by(giver, "001/alice") for giver in ("b1", "b20")]


@BOTH
async def test_a_giver_says_which_of_its_ids_will_not_come_again(store: Store, mail: Mail) -> None:
    for giver in ("b2", "b2.example"):
        for number in range(4):
            id = given_by(giver, f"00{number}/alice")
            await store.append(Append(mail.account, staged(store, b"x"), delivery_id=id))
    await store.append(Append(mail.account, staged(store, b"x"), delivery_id="000/alice"))
    await store.forget_deliveries("002", "b2")
    await store.upkeep.run()
    with store.read() as reader:
        kept = [row[0] for row in reader.rows("SELECT delivery FROM delivery ORDER BY delivery")]
    others = [given_by("b2.example", f"00{number}/alice") for number in range(4)]
    assert kept == ["000/alice", *others, given_by("b2", "002/alice"), given_by("b2", "003/alice")]


async def test_a_full_disk_gives_up_its_ballast_for_removing(
    store: Store, mail: Mail, monkeypatch: pytest.MonkeyPatch, clock: ManualClock
) -> None:
    await mail.fill(2)
    run = store.writer.run
    failures = [RookeryError(Cause.DISK_FULL, "full")]

    async def failing(*arguments, **more):  # type: ignore[no-untyped-def]
        if failures:
            raise failures.pop()
        return await run(*arguments, **more)

    monkeypatch.setattr(store.writer, "run", failing)
    assert (await mail.opened.expunge(1, force=True)).uids == N("1:2")
    assert not store.parts.ballast.held
    with pytest.raises(RookeryError) as caught:
        await mail.append()
    assert caught.value.cause is Cause.DISK_FULL
    clock.advance(11)
    await store.upkeep.run()
    assert store.parts.ballast.held
    await mail.append()


async def test_a_database_that_stays_away_is_no_line_a_second(
    store: Store, monkeypatch: pytest.MonkeyPatch, clock: ManualClock
) -> None:
    async def away() -> bool:
        raise RookeryError(Cause.UNAVAILABLE, "away")

    with captured() as lines, monkeypatch.context() as patch:
        patch.setattr(store.upkeep, "_step", away)
        for _ in range(60):
            clock.advance(1)
            await store.upkeep.step()
    told = [fields for component, event, fields in lines if (component, event) == ("upkeep", "upkeep-failed")]
    assert len(told) == 6
    assert told[0] == {"cause": "unavailable", "what": "away"}


async def test_derived_data_may_be_lost(open_store: Opener, tmp_path: Path) -> None:
    store = await open_store()
    mail = await make_mail(store)
    mail.opened.put_many("envelope", {1: b"one", 2: b"two"})
    assert mail.opened.get_many("envelope", [1, 2, 3]) == {1: b"one", 2: b"two"}
    store.derived.flush()
    assert mail.opened.get_many("envelope", [1, 2, 3]) == {1: b"one", 2: b"two"}
    await store.close()
    (tmp_path / "store" / "derived.db").write_bytes(b"this is no database" * 1000)
    store = await open_store()
    opened = await store.open_account(mail.account)
    assert opened.get_many("envelope", [1, 2]) == {}
    opened.put_many("envelope", {1: b"again"})
    store.derived.flush()
    assert opened.get_many("envelope", [1]) == {1: b"again"}
