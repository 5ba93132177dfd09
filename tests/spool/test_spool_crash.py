"""The power goes at every single step of accepting, claiming, settling, expanding, notifying and tidying.

After each the spool opens; what was acknowledged is there once, with its body; what was settled is not there again;
and a notice is there exactly when its failure is settled.
"""

import asyncio
import os
import random
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path

import pytest

from rookery.base.clock import ManualClock
from rookery.distribution.spool import admin, tidy
from rookery.distribution.spool.opening import open_spool
from rookery.distribution.spool.spool import Spool, SpoolSettings
from rookery.distribution.spool.values import (
    Claimed,
    Expansion,
    Fate,
    Incoming,
    NoticeKind,
    Recipient,
    Settlement,
    State,
)
from rookery.storage.gate import Gate
from tests.faults.disk import FaultyDisk
from tests.faults.driver import at_every_step, faulty_vfs
from tests.faults.files import FaultyFiles

Act = Callable[[Spool, FaultyDisk], Awaitable[None]]
SETTINGS = SpoolSettings(memory=0)
SMALL = b"Subject: small\r\n\r\n" + b"s" * 600 + b"\r\n"
LARGE = b"Subject: large\r\n\r\n" + b"l" * (1 << 20) + b"\r\n"


@pytest.fixture
def folder() -> Iterator[Path]:
    """In memory where there is such a place: the model decides what is lost, and real flushes only take time."""
    shared = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shared if os.access(shared, os.W_OK) else None) as name:
        yield Path(name)


def run(disk: FaultyDisk, act: Act) -> None:
    async def live(vfs: str) -> None:
        spool = await open_spool(
            disk.root / "spool", clock=ManualClock(), gate=Gate(), random=random.Random(1).randbytes,
            files=FaultyFiles(disk), settings=SETTINGS, vfs=vfs,
        )  # fmt: skip
        try:
            await act(spool, disk)
        finally:
            await spool.close()

    with faulty_vfs(disk) as vfs:
        asyncio.run(live(vfs))


class Left:
    """What a spool holds after the crash: (open recipients, finished recipients' states, senders), bodies checked."""

    def __init__(self, folder: Path) -> None:
        self.open: dict[str, set[str]] = {}
        self.states: dict[str, dict[str, str]] = {}
        self.notices: list[str] = []
        asyncio.run(self._look(folder))

    async def _look(self, folder: Path) -> None:
        spool = await open_spool(folder / "spool", clock=ManualClock(1_900_000_000.0), gate=Gate(), settings=SETTINGS)
        for claimed in await spool.claim_due(1000):
            body = b"".join([chunk async for chunk in spool.chunks(claimed.envelope)])
            assert body in (SMALL, LARGE)
            assert claimed.envelope.message not in self.open, "the same message twice"
            self.open[claimed.envelope.message] = {recipient.address for recipient in claimed.recipients}
            if claimed.envelope.notice is not NoticeKind.MAIL:
                self.notices.append(claimed.envelope.message)
        numbers = [
            row[0]
            for row in spool.read(lambda r: r.rows("SELECT message FROM message UNION SELECT message FROM history"))
        ]
        for number in numbers:
            report = spool.read(lambda reader, number=number: admin.show(reader, number))
            assert report is not None
            self.states[report.message] = {r.address: r.state for r in report.recipients}
        await spool.close()
        # the spool of after the crash works: accept one more, and see it
        again = await open_spool(folder / "spool", clock=ManualClock(1_900_000_001.0), gate=Gate(), settings=SETTINGS)
        assert await accept(again, "after@x.test")
        await tidy.tidy(again)
        await again.close()


async def accept(
    spool: Spool, *recipients: str, body: bytes = SMALL, sender: str = "ann@y.test", **facts: object
) -> str:
    return await spool.accept(message(spool, *recipients, body=body, sender=sender, **facts))


def message(
    spool: Spool, *recipients: str, body: bytes = SMALL, sender: str = "ann@y.test", **facts: object
) -> Incoming:
    staging = spool.stage()
    staging.write(body)
    given = tuple(Recipient(address) for address in recipients)
    return Incoming(sender, given, staging.finish(), **facts)  # type: ignore[arg-type]


async def claim(spool: Spool) -> list[Claimed]:
    return sorted(await spool.claim_due(100), key=lambda claimed: claimed.envelope.number)


# --- accept --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [SMALL, LARGE], ids=["small", "large"])
def test_accept(folder: Path, body: bytes) -> None:
    async def act(spool: Spool, disk: FaultyDisk) -> None:
        for n in range(3):
            disk.promises.append((await accept(spool, f"a{n}@x.test", f"b{n}@x.test", body=body), n))

    def check(left_in: Path, promises: Sequence[object]) -> None:
        left = Left(left_in)
        for promise in promises:
            text, n = promise  # type: ignore[misc]
            assert left.open[text] == {f"a{n}@x.test", f"b{n}@x.test"}
        assert len(left.open) <= len(promises) + 1  # one that was not answered may be there

    assert at_every_step(lambda disk: run(disk, act), check, folder) > 20


def test_accept_together(folder: Path) -> None:
    async def act(spool: Spool, disk: FaultyDisk) -> None:
        results = await asyncio.gather(*(accept(spool, f"a{n}@x.test") for n in range(5)), return_exceptions=True)
        disk.promises += [result for result in results if isinstance(result, str)]
        for result in results:
            if isinstance(result, BaseException):
                raise result

    def check(left_in: Path, promises: Sequence[object]) -> None:
        assert set(promises) <= set(Left(left_in).open)

    at_every_step(lambda disk: run(disk, act), check, folder)


# --- claim and settle ----------------------------------------------------------------------------------------------


def test_claims_are_due_again(folder: Path) -> None:
    async def act(spool: Spool, disk: FaultyDisk) -> None:
        for n in range(3):
            disk.promises.append(await accept(spool, f"a{n}@x.test"))
        await claim(spool)

    def check(left_in: Path, promises: Sequence[object]) -> None:
        assert set(promises) <= set(Left(left_in).open)

    at_every_step(lambda disk: run(disk, act), check, folder)


def test_settle(folder: Path) -> None:
    async def act(spool: Spool, disk: FaultyDisk) -> None:
        texts = [await accept(spool, "a@x.test", "b@x.test", body=body) for body in (SMALL, LARGE)]
        disk.promises += [(text, "a@x.test", "due") for text in texts]
        for claimed in await claim(spool):
            for n, address, state in ((1, "a@x.test", State.DELIVERED), (2, "b@x.test", State.RELAYED)):
                await spool.settle(Settlement(claimed.envelope, (Fate(n, state, 250, "2.0.0", "ok"),)))
                disk.promises.append((claimed.envelope.message, address, state.name.lower()))

    def check(left_in: Path, promises: Sequence[object]) -> None:
        left = Left(left_in)
        for text, address, state in promises:  # type: ignore[misc]
            found = left.states[text][address]
            if state != "due":
                assert found == state
                assert address not in left.open.get(text, ())

    at_every_step(lambda disk: run(disk, act), check, folder, every=1)


def test_expansion_is_all_or_nothing(folder: Path) -> None:
    async def act(spool: Spool, disk: FaultyDisk) -> None:
        disk.promises.append(await accept(spool, "list@x.test"))
        for claimed in await claim(spool):
            members = tuple(Expansion(1, f"m{n}@x.test") for n in range(3))
            await spool.settle(Settlement(claimed.envelope, (Fate(1, State.EXPANDED),), members))
            disk.promises.append("expanded")

    def check(left_in: Path, promises: Sequence[object]) -> None:
        left = Left(left_in)
        if not promises:
            return
        found = left.open[str(promises[0])]
        members = {f"m{n}@x.test" for n in range(3)}
        assert found in ({"list@x.test"}, members)
        assert "expanded" not in promises or found == members

    at_every_step(lambda disk: run(disk, act), check, folder)


def test_a_notice_is_there_exactly_when_its_failure_is(folder: Path) -> None:
    async def act(spool: Spool, disk: FaultyDisk) -> None:
        disk.promises.append(await accept(spool, "a@x.test"))
        for claimed in await claim(spool):
            notice = message(spool, "ann@y.test", sender="", notice=NoticeKind.TO_SENDER)
            await spool.settle(Settlement(claimed.envelope, (Fate(1, State.FAILED, 550),), (), (notice,)))
            disk.promises.append("told")

    def check(left_in: Path, promises: Sequence[object]) -> None:
        left = Left(left_in)
        if not promises:
            return
        failed = left.states[str(promises[0])]["a@x.test"] == "failed"
        assert len(left.notices) == failed
        assert failed or "told" not in promises

    at_every_step(lambda disk: run(disk, act), check, folder)


# --- tidying -------------------------------------------------------------------------------------------------------


def test_tidying_loses_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tidy, "SEAL_AT", 1000)

    async def act(spool: Spool, disk: FaultyDisk) -> None:
        texts = [await accept(spool, f"a{n}@x.test") for n in range(6)]
        kept = texts[3]
        disk.promises.append(kept)
        for claimed in await claim(spool):
            if claimed.envelope.message != kept:
                await spool.settle(Settlement(claimed.envelope, (Fate(1, State.DELIVERED),)))
        found = await tidy.tidy(spool)
        assert (found.segments, found.moved) == (1, 1)
        disk.promises.append("tidied")

    def check(left_in: Path, promises: Sequence[object]) -> None:
        left = Left(left_in)
        if promises:
            assert left.open[str(promises[0])] == {"a3@x.test"}
        if "tidied" in promises:
            assert sum(path.stat().st_size for path in (left_in / "spool" / "segments").iterdir()) < 3 * 1000

    at_every_step(lambda disk: run(disk, act), check, folder)
