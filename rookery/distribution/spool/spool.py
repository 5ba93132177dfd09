"""The one object others hold: `accept` what comes in, hand out what is due, take in what became of it.

Own database, own writer thread, own bodies: under DIR/spool, or shared by several nodes on PostgreSQL. A message that
arrives while the queue has room is claimed as it is written and handed over from memory: such a message costs one
commit to accept and one to settle, and no read. Everything here is called on the event loop.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Protocol, TypeVar

from rookery.base.clock import Clock
from rookery.base.errors import Cause, Refusal, RookeryError
from rookery.base.ids import RandomBytes, new_blob_id, pooled
from rookery.base.log import logger
from rookery.distribution.spool import admin, incarnations, rules
from rookery.distribution.spool.bodies import LiveOctets, RecentBodies, release
from rookery.distribution.spool.ids import MessageIds, message_number, message_text
from rookery.distribution.spool.incarnations import Incarnation
from rookery.distribution.spool.membership import Membership
from rookery.distribution.spool.rules import Acceptance, Accepted, Claiming, Settling
from rookery.distribution.spool.values import Claimed, ClaimedRecipient, Envelope, Incoming, Settled, Settlement
from rookery.storage.blobs import LookAgain, Place
from rookery.storage.bodies import Blobs
from rookery.storage.engine import Database, Reader, Transaction
from rookery.storage.group_commit import Plain, Rule
from rookery.storage.lock import FolderLock
from rookery.storage.staging import Staged, Staging
from rookery.storage.writer import Writer

T = TypeVar("T")
log = logger("spool")

MB = 1024 * 1024
DAY = 86400.0
LATE = 3600.0  # seconds between the id of a message and its commit, at most
WHOLE = 256 * 1024  # octets up to which a body is read in one piece, on the event loop


@dataclass(frozen=True, slots=True)
class SpoolSettings:
    """`memory`: octets of just accepted bodies that are kept until they are delivered. `waiting`: octets of bodies
    that may wait for the writer. `history`: seconds, from arrival, for which `rookery trace` knows a message, and at
    most `history_messages` of them.
    """

    memory: int = 64 * MB
    waiting: int = 64 * MB
    history: float = 7 * DAY
    history_messages: int = 1_000_000


class Taker(Protocol):
    """The queue, as the spool sees it."""

    def room(self, recipients: int) -> bool:
        """Whether a message with so many recipients may be handed over at once."""
        ...

    def take(self, claimed: Claimed) -> None: ...

    def wake(self) -> None:
        """Something is due that was not handed over."""
        ...


class _Nobody:
    """Until a queue is attached, and after it is gone. What it is handed is claimed, and due at the next start."""

    def room(self, recipients: int) -> bool:
        return False

    def take(self, claimed: Claimed) -> None:
        return

    def wake(self) -> None:
        return


class Spool:
    """Made by `opening.open_spool`; `close` ends it. `holder`: this node, on a spool that several work on."""

    def __init__(
        self,
        database: Database,
        writer: Writer,
        blobs: Blobs,
        places: Plain,
        *,
        clock: Clock,
        random: RandomBytes,
        incarnation: int,
        settings: SpoolSettings,
        holder: str = "",
        lock: FolderLock | None = None,
    ) -> None:
        self.settings = settings
        self.database = database
        self.writer = writer
        self.blobs = blobs
        self.clock = clock
        self._random = random = pooled(random)
        self._lock = lock
        self.places = places
        self._taker: Taker = _Nobody()
        self._recent = RecentBodies(settings.memory)
        self._given_up: dict[str, str] = {}  # by node, up to where its ids were forgotten last
        self._ids = MessageIds(clock, random, self.read(admin.greatest))
        self._membership = Membership(
            database,
            places,
            self._ids,
            clock=clock,
            incarnation=incarnation,
            holder=holder,
            wake=lambda: self._taker.wake(),
        )
        self.live = LiveOctets(self.read(admin.live_octets))
        self._accept: Rule[Acceptance, Accepted] = Rule(
            "spool-accept", lambda tx, items: rules.accept_new(tx, places.places, items)
        )
        self._claim: Rule[Claiming, tuple[Claimed, ...]] = Rule("spool-claim", rules.claim_batch)
        self._settle: Rule[Settling, Settled] = Rule("spool-settle", self._settle_batch)

    async def close(self) -> None:
        """Finish what waits for the writer. Whoever takes must have stopped. Other nodes may claim what was ours."""
        self._taker = _Nobody()
        await self.writer.close()
        await self._membership.close()
        self._recent.clear()
        self.blobs.close()
        self.database.close()
        if self._lock is not None:
            self._lock.release()

    def attach(self, taker: Taker) -> None:
        """From now on, what arrives is offered to `taker` at once."""
        self._taker = taker

    def detach(self) -> None:
        self._taker = _Nobody()

    def now(self) -> int:
        return int(self.clock.wall())

    def read(self, question: Callable[[Reader], T]) -> T:
        with self.database.read() as reader:
            return question(reader)

    async def ask(self, question: Callable[[Reader], T]) -> T:
        """As `read`; the loop goes on while a server answers."""
        return await asyncio.to_thread(self.read, question) if self.database.shared else self.read(question)

    # --- in

    def new_id(self) -> str:
        """An id for a message that is about to be accepted; one that is not used is no loss."""
        return self._ids.new()

    def stage(self) -> Staging:
        return self.blobs.stage()

    async def accept(self, incoming: Incoming) -> str:
        """THE FIRST COMMIT POINT (rules.py): when this returns, the message is ours. Returns its id.

        Raises RookeryError: DISK_FULL, UNAVAILABLE, INVALID (a bad id), EXISTS (another node has handed it in before);
        then nothing was taken.
        """
        try:
            await self.writer.room()
        except asyncio.CancelledError:
            release(incoming.staged)
            raise
        future: asyncio.Future[str | Refusal] = asyncio.get_running_loop().create_future()

        def done(result: str | Refusal) -> None:
            if not future.done():
                future.set_result(result)

        self.accept_soon(incoming, done)
        result = await future
        if isinstance(result, Refusal):
            raise RookeryError(result.cause, result.what)
        return result

    def accept_soon(self, incoming: Incoming, done: Callable[[str | Refusal], None]) -> None:
        """The same without a future, and without waiting for room: look at `writer.waiting` before."""
        try:
            item = self._acceptance(incoming, self._taker.room(len(incoming.recipients)))
        except RookeryError as error:
            release(incoming.staged)
            done(error.refusal)
            return

        def committed(result: Accepted | Refusal) -> None:
            if isinstance(result, Refusal):
                release(incoming.staged)
                done(result)
                return
            done(result.envelope.message)
            self._accepted(result.item, result.envelope)

        self.writer.submit(self._accept, item, done=committed, bodies=((item.blob, incoming.staged),))

    def _acceptance(self, incoming: Incoming, claim: bool) -> Acceptance:
        if not incoming.recipients:
            raise RookeryError(Cause.INVALID, "a message without recipients")
        number = message_number(incoming.message_id or self._ids.new())
        blob = new_blob_id(self.clock, self._random)
        return Acceptance(number, blob, incoming, self.now(), self.incarnation if claim else None)

    def _accepted(self, item: Acceptance, envelope: Envelope) -> None:
        """After the commit: hand over what was claimed, and keep its body at hand."""
        if envelope.place.segment:
            self.live.add(envelope.place)
        if item.claimant is None:
            release(item.incoming.staged)
            self._taker.wake()
            return
        self._recent.keep(envelope.number, item.incoming.staged)
        recipients = tuple(
            ClaimedRecipient(
                n=n, address=recipient.address, given=recipient.address, original=recipient.original,
                notify=recipient.notify, depth=0, attempts=0,
            )
            for n, recipient in enumerate(item.incoming.recipients, 1)
        )  # fmt: skip
        self._taker.take(Claimed(envelope, recipients))

    async def forget_taken(self, node: str, below: str) -> None:
        """That node has settled its delivery ids below: they will not come again. Raises RookeryError."""
        if self._given_up.get(node) == below:
            return
        self._given_up[node] = below
        while await self.writer.exclusive(lambda tx: admin.forget_given(tx, node, below)) == admin.SLICE:
            pass

    # --- out

    async def claim_due(self, limit: int) -> tuple[Claimed, ...]:
        """At most `limit` recipients whose time has come, longest due first."""
        return await self.writer.run(self._claim, Claiming(self.now(), limit, self.incarnation))

    async def next_due(self) -> int | None:
        """When the next recipient is due (may be past), None when none waits."""
        return await self.ask(admin.next_due)

    async def lowest_unsettled(self) -> str:
        """Every message with a lower id is settled; with nothing in the queue, an id of this moment."""
        lowest = await self.ask(admin.lowest)
        if self.database.shared:  # another node may be taking in a message that got its id some time ago
            least = self._ids.before(LATE)
            return message_text(least if lowest is None else min(lowest, least))
        return message_text(lowest) if lowest is not None else self._ids.new()

    def settle_soon(self, settlement: Settlement, done: Callable[[Settled | Refusal], None]) -> None:
        """Make fates, expansions and notices durable in one transaction; what is finished is removed.

        On a Refusal nothing of it took place; the bodies of the notices are released either way.
        """
        notices = tuple(self._acceptance(notice, self._taker.room(1)) for notice in settlement.notices)
        item = Settling(
            envelope=settlement.envelope, fates=settlement.fates, expansions=settlement.expansions, notices=notices,
            warned=settlement.warned, now=self.now(), incarnation=self.incarnation,
        )  # fmt: skip

        def committed(result: Settled | Refusal) -> None:
            if isinstance(result, Refusal) or not result.notices:
                for notice in notices:
                    release(notice.incoming.staged)
            if isinstance(result, Refusal):
                done(result)
                return
            if result.place is not None:
                self._finished(settlement.envelope, result.place)
            done(result)
            for notice, envelope in zip(notices, result.notices, strict=False):
                self._accepted(notice, envelope)

        bodies = tuple((notice.blob, notice.incoming.staged) for notice in notices)
        self.writer.submit(self._settle, item, done=committed, bodies=bodies)

    async def settle(self, settlement: Settlement) -> Settled:
        future: asyncio.Future[Settled | Refusal] = asyncio.get_running_loop().create_future()

        def done(result: Settled | Refusal) -> None:
            if not future.done():
                future.set_result(result)

        self.settle_soon(settlement, done)
        result = await future
        if isinstance(result, Refusal):
            raise RookeryError(result.cause, result.what)
        return result

    def _settle_batch(self, tx: Transaction, items: Sequence[Settling]) -> list[Settled | Refusal]:
        results = rules.settle_batch(tx, self.places.places, items)
        if self.blobs.with_index:
            pairs = zip(items, results, strict=True)
            ended = [item.envelope.blob for item, result in pairs if isinstance(result, Settled) and result.finished]
            self.blobs.drop(tx, ended)
        return results

    def _finished(self, envelope: Envelope, place: Place) -> None:
        """Its rows are gone for good: give up the octets. A large body left by a crash here is found at the start."""
        self._recent.drop(envelope.number)
        if place.segment:
            self.live.remove(place)
        elif not self.blobs.with_index:
            self._unlink_large(envelope)

    def _unlink_large(self, envelope: Envelope) -> None:
        try:
            self.blobs.delete_many([envelope.blob])
        except OSError as error:
            log.warning("body-kept", message=envelope.message, error=error.strerror)

    # --- other nodes

    @property
    def incarnation(self) -> int:
        return self._membership.incarnation

    def incarnations(self) -> list[Incarnation]:
        """Who works on this spool, this node among them. Whether they live is known elsewhere."""
        return self.read(incarnations.living)

    async def take_over(self, ended: Sequence[int] = ()) -> int:
        """These incarnations have died: what they had claimed is due again, for whoever claims it. They can settle
        and accept nothing any more. Returns of how many messages; raises RookeryError, and may be repeated.
        """
        total = await self._membership.take_over(ended)
        if total:
            self._taker.wake()
        return total

    # --- bodies

    def at_hand(self, envelope: Envelope) -> bytes | None:
        """As `body`; None if a server would have to be asked for it."""
        return self._recent.get(envelope.number) if self.database.shared else self.body(envelope)

    def body(self, envelope: Envelope) -> bytes:
        """The whole of a small body (`envelope.size` up to WHOLE). Raises RookeryError: CORRUPT, UNAVAILABLE."""
        kept = self._recent.get(envelope.number)
        if kept is not None:
            return kept
        try:
            return self.blobs.read(envelope.blob, envelope.place)
        except LookAgain:
            return self._read_again(envelope)

    def _read_again(self, envelope: Envelope) -> bytes:
        found = self.read(lambda reader: admin.envelope(reader, envelope.number))
        if found is None:
            raise RookeryError(Cause.NOT_FOUND, f"message {envelope.message} is gone")
        try:
            return self.blobs.read(found.blob, found.place)
        except LookAgain:
            raise RookeryError(Cause.CORRUPT, f"the body of {envelope.message} is missing") from None

    async def chunks(self, envelope: Envelope) -> AsyncGenerator[bytes, None]:
        """A body of any size, read beside the event loop. Raises as `body`."""
        if envelope.size <= WHOLE:
            at_hand = self.at_hand(envelope)
            yield at_hand if at_hand is not None else await asyncio.to_thread(self.body, envelope)
            return
        offset = 0
        while offset < envelope.place.length:
            piece = await asyncio.to_thread(self._piece, envelope, offset)
            if not piece:
                raise RookeryError(Cause.CORRUPT, f"the body of {envelope.message} ends too early")
            yield piece
            offset += len(piece)

    def _piece(self, envelope: Envelope, offset: int) -> bytes:
        try:
            return self.blobs.read(envelope.blob, envelope.place, offset, WHOLE)
        except LookAgain:
            return self._read_again(envelope)[offset : offset + WHOLE]

    async def head(self, envelope: Envelope, limit: int) -> bytes:
        """The first `limit` octets, for the rare place that wants the header. Raises as `body`."""
        async with aclosing(self.chunks(envelope)) as pieces:
            return (await anext(pieces))[:limit]

    def staged_copy(self, data: bytes) -> Staged:
        """A body from memory: notices."""
        staging = self.stage()
        staging.write(data)
        return staging.finish()
