"""What keeps the spool from growing: dead segments go, mostly dead ones are emptied, old history is forgotten.

Called from time to time. Each step is small; what is not reached is found again the next time.

A segment may be deleted when nothing needs it and nothing can come to need it. New bodies go to the current segment
only; so of one that was not current, every row is known once the writer has answered a question asked after that.
"""

import asyncio
from collections.abc import Sequence

import msgspec

from rookery.base.errors import Cause, RookeryError
from rookery.base.log import logger
from rookery.distribution.spool import admin
from rookery.distribution.spool.bodies import release
from rookery.distribution.spool.ids import number_at
from rookery.distribution.spool.spool import Spool
from rookery.distribution.spool.values import Envelope
from rookery.storage.blobs import LookAgain, Place
from rookery.storage.engine import Transaction

log = logger("spool")

SEAL_AT = 8 * 1024 * 1024  # octets of the current segment worth giving up when most of it is dead
MOSTLY_DEAD = 4  # a segment is emptied when less than a quarter of it is needed
STRAY = 3600.0  # seconds after which a body without a message will not get one any more
TAKEN = 30 * 86_400.0  # seconds for which it is known what other nodes have handed in: longer than any keeps mail
MOVES = 100  # bodies moved by one step
MOVE_OCTETS = 8 * 1024 * 1024  # of one step


class Tidied(msgspec.Struct, frozen=True):
    """Segments deleted, bodies moved, finished messages forgotten."""

    segments: int
    moved: int
    forgotten: int


async def tidy(spool: Spool) -> Tidied:
    """Raises RookeryError or OSError when the disk does; then the rest is left for the next time."""
    forgotten = await _forget_history(spool)
    await _forget_taken(spool)
    if spool.database.shared:
        await spool.take_over()  # what was left behind by somebody who had ended already
        await _delete_strays(spool)
    await _seal_current(spool)
    deleted = await _delete_dead(spool)
    moved = 0
    for segment in await asyncio.to_thread(_mostly_dead, spool):
        moved += await _empty(spool, segment)
    if moved:
        deleted += await _delete_dead(spool)
    if deleted or moved or forgotten:
        log.info("tidied", segments=deleted, moved=moved, forgotten=forgotten)
    return Tidied(deleted, moved, forgotten)


async def _forget_history(spool: Spool) -> int:
    settings = spool.settings
    before = number_at(spool.clock.wall() - settings.history)
    total = 0
    while True:
        gone = await spool.writer.exclusive(lambda tx: admin.trim_history(tx, before, settings.history_messages))
        total += gone
        if gone < admin.SLICE:
            return total


async def _forget_taken(spool: Spool) -> None:
    before = int(spool.clock.wall() - TAKEN)
    while await spool.writer.exclusive(lambda tx: admin.forget_taken(tx, before)) == admin.SLICE:
        pass


async def _delete_strays(spool: Spool) -> None:
    """Bodies whose message was never committed: they were there before it, and somebody died between."""
    before = max(0, int((spool.clock.wall() - STRAY) * 1000)).to_bytes(6, "big")  # as base.ids makes them
    while gone := await asyncio.to_thread(spool.blobs.strays, "message", before):
        await asyncio.to_thread(spool.blobs.delete_many, gone)


async def _seal_current(spool: Spool) -> None:
    """Begin another segment when the current one is mostly dead, so that an idle spool is a small one."""
    current = spool.blobs.current
    if not current:
        return
    size = await asyncio.to_thread(spool.blobs.segment_size, current)
    if size >= SEAL_AT and spool.live.octets(current) * MOSTLY_DEAD < size:
        await spool.writer.exclusive(lambda tx: spool.blobs.seal())


async def _delete_dead(spool: Spool) -> int:
    current = spool.blobs.current
    sealed = [segment for segment in await asyncio.to_thread(spool.blobs.segments) if segment != current]
    if all(map(spool.live.needed, sealed)):
        return 0
    await spool.writer.exclusive(lambda tx: None)  # whoever put a body there has been heard of now
    dead = [segment for segment in sealed if not spool.live.needed(segment)]
    for segment in dead:
        await asyncio.to_thread(spool.blobs.delete_segment, segment)
    return len(dead)


def _mostly_dead(spool: Spool) -> list[int]:
    current = spool.blobs.current
    return [
        segment
        for segment in spool.blobs.segments()
        if segment != current and spool.live.octets(segment) * MOSTLY_DEAD < spool.blobs.segment_size(segment)
    ]


async def _empty(spool: Spool, segment: int) -> int:
    """Move what is needed of a segment to the current one."""
    moved = after = 0
    while True:
        step = _some(await asyncio.to_thread(_next_in, spool, segment, after))
        if not step:
            return moved
        moved += await _move(spool, step)
        after = step[-1].number


def _next_in(spool: Spool, segment: int, after: int) -> list[Envelope]:
    return spool.read(lambda reader: admin.envelopes_in(reader, segment, after, MOVES))


def _some(found: Sequence[Envelope]) -> list[Envelope]:
    """As many as may be in memory at once, at least one."""
    step: list[Envelope] = []
    octets = 0
    for envelope in found:
        octets += envelope.size
        if step and octets > MOVE_OCTETS:
            break
        step.append(envelope)
    return step


async def _move(spool: Spool, envelopes: Sequence[Envelope]) -> int:
    """Write the bodies anew, then their places, in one transaction. A rotten body stays where it is, and is named."""
    staged = []
    for envelope in envelopes:
        try:
            body = await asyncio.to_thread(spool.blobs.read, envelope.blob, envelope.place)
        except LookAgain:
            continue
        except RookeryError as error:
            if error.cause is not Cause.CORRUPT:
                raise
            log.error("body-rotten", message=envelope.message, what=error.what)
            continue
        staged.append((envelope, spool.staged_copy(body)))

    def move(tx: Transaction) -> list[tuple[Place, Place]]:
        places = spool.places.places
        return [
            (envelope.place, places[envelope.blob])
            for envelope, _ in staged
            if admin.set_place(tx, envelope.number, places[envelope.blob])
        ]

    try:
        done = await spool.writer.exclusive(move, bodies=[(envelope.blob, copy) for envelope, copy in staged])
    finally:
        for _, copy in staged:
            release(copy)
    for old, new in done:
        spool.live.remove(old)
        spool.live.add(new)
    return len(done)
