"""One client's session: what it is allowed, what it has selected, and how commands are run and completed.

What each command does is in the files named for the families of commands; which commands exist in which state is the
engine's table (`rookery.wire.imap.grammar`).
"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from rookery.access.frontend.way import HandOver
from rookery.access.imap.recent import RecentMarks
from rookery.access.imap.selected import Selected
from rookery.access.imap.settings import ImapSettings
from rookery.access.login import SaslSession
from rookery.access.underway import UnderWay
from rookery.base.clock import Clock
from rookery.base.errors import Cause, Refusal, RookeryError
from rookery.base.ids import AccountId
from rookery.base.log import logger
from rookery.distribution.auth.authenticator import Authenticator
from rookery.distribution.directory.values import AccountRecord
from rookery.distribution.placement.values import Elsewhere, Location
from rookery.net.stream import Stream
from rookery.storage.open_account import OpenAccount
from rookery.storage.staging import Staging
from rookery.storage.store import Store
from rookery.wire.imap import responses
from rookery.wire.imap.commands import Append
from rookery.wire.imap.engine import Engine

TURN = 0.01  # seconds of work after which other connections get a turn
CHUNK = 64 * 1024  # octets gathered before they are handed to the stream

log = logger("imap")


class Hosts(Protocol):
    """What sessions ask of placement."""

    async def locate(self, account: AccountId) -> Location: ...

    def may_read(self) -> bool: ...

    async def fresh(self) -> None: ...


class Referral(Exception):
    """Another backend hosts the account of who is logging in."""

    def __init__(self, record: AccountRecord, host: Elsewhere) -> None:
        super().__init__(host.backend)
        self.record = record
        self.host = host


@dataclass(frozen=True, slots=True)
class Services:
    """What all sessions of a listener share. `hand_over`: where nodes bring sessions to each other."""

    store: Store
    authenticator: Authenticator
    settings: ImapSettings
    clock: Clock
    tls: ssl.SSLContext | None
    recents: RecentMarks
    hosts: Hosts
    underway: UnderWay
    hand_over: HandOver | None = None


class Gone(Exception):
    """The client has hung up: what it asked for is of no use to anybody."""


class Lost(Exception):
    """The account is at another backend by now: nothing more is said of it, the client is to connect again."""


class Appending:
    """The message of an APPEND that is arriving. `failed`: why it cannot be kept; the rest is read past.

    `head`: octets of its header so far; `tail`: the last of them, in which the empty line may have begun, None once
    that has come.
    """

    __slots__ = ("command", "failed", "head", "mailbox", "staging", "tail")

    def __init__(self, command: Append, mailbox: int, staging: Staging) -> None:
        self.command = command
        self.mailbox = mailbox
        self.staging = staging
        self.failed: Refusal | None = None
        self.head = 0
        self.tail: bytes | None = b"\n"

    def fail(self, refusal: Refusal) -> None:
        """What has come of it is given back at once."""
        self.failed = refusal
        self.staging.discard()

    def discard(self) -> None:
        self.staging.discard()


class Session:
    """`rev2`, `condstore`, `utf8_accept`: enabled by the client. `appending`: the message of an APPEND under way.

    `host`: the stream to the backend that goes on with the session, once one does.
    """

    __slots__ = (
        "_account",
        "_catching_up",
        "_turn",
        "_unlose",
        "appending",
        "condstore",
        "engine",
        "host",
        "id",
        "rev2",
        "sasl",
        "selected",
        "services",
        "stream",
        "unwatch",
        "user",
        "utf8_accept",
    )

    def __init__(self, services: Services, stream: Stream, engine: Engine, session_id: str) -> None:
        self.services = services
        self.stream = stream
        self.engine = engine
        self.id = session_id
        self.user = ""
        self.rev2 = False
        self.condstore = False
        self.utf8_accept = False
        self.sasl: SaslSession | None = None
        self.appending: Appending | None = None
        self.host: Stream | None = None
        self.selected: Selected | None = None
        self.unwatch: Callable[[], None] | None = None
        self._account: OpenAccount | None = None
        self._catching_up: asyncio.Task[None] | None = None
        self._turn = 0.0
        self._unlose: Callable[[], None] | None = None

    @property
    def lost(self) -> bool:
        """Whether the account is at another backend by now."""
        return self._account is not None and self._account.lost

    @property
    def logged_in(self) -> bool:
        return self._account is not None

    @property
    def account(self) -> OpenAccount:
        """Of the one who is logged in."""
        if self._account is None:
            raise RookeryError(Cause.DENIED, "not logged in")
        return self._account

    # --- output ------------------------------------------------------------------------------------------------------

    def send(self, lines: bytes) -> None:
        """Queue whole response lines; they leave with the end of the command at the latest."""
        self.engine.send(lines)

    def write(self, data: bytes) -> None:
        """Hand octets to the stream now, after all that was queued: for large answers, with `turn` in between."""
        waiting = self.engine.outgoing()
        if waiting:
            self.stream.write(waiting)
        self.stream.write(data)

    async def turn(self) -> None:
        """Between slices of long work: wait for a slow client, and let the others have their turn.

        Raises Gone when nobody is there to be answered, Lost when nothing more may be said.
        """
        if not self.services.hosts.may_read():
            await self._known()
        if self.lost:
            raise Lost
        if self.stream.unsent:
            await self.stream.drain()
        if self.stream.gone:
            raise Gone
        if self.services.clock.monotonic() >= self._turn:
            await asyncio.sleep(0)
            self._turn = self.services.clock.monotonic() + TURN

    def confirm(self) -> Awaitable[None] | None:
        """Before what was said is sent: whether this backend still is the host may have to be asked first.

        Raises Lost, also from what it returns.
        """
        if self.lost:
            raise Lost
        return None if self.services.hosts.may_read() else self._known()

    async def _known(self) -> None:
        """Raises Lost when it is not, or cannot be found out."""
        if self.logged_in and not self.services.hosts.may_read():
            try:
                await self.services.hosts.fresh()
            except RookeryError as error:
                raise Lost from error
            if self.lost:
                raise Lost

    # --- login and logout --------------------------------------------------------------------------------------------

    async def log_in(self, record: AccountRecord) -> None:
        """From now on in the authenticated state. Raises RookeryError when the mailbox cannot be opened, Referral when
        it is opened elsewhere.

        TOO_MANY: the account has as many sessions as it may. Whoever holds it open is counted, in all listeners.
        """
        host = await self.services.hosts.locate(record.account)
        if isinstance(host, Elsewhere):
            raise Referral(record, host)
        account = await self.services.store.open_account(record.account)
        if account.holders > self.services.settings.sessions:
            account.release()
            raise RookeryError(Cause.TOO_MANY, "sessions of one account")
        self._account = account
        self._unlose = account.when_lost(self._lose)
        self.user = record.address
        self.sasl = None
        self.engine.log_in()
        self.stream.authenticated()
        self.stream.idle = self.services.settings.idle_timeout

    def close(self) -> None:
        """Give back everything; the connection is over."""
        self.stop_idling()
        if self._catching_up is not None:
            self._catching_up.cancel()
        if self.appending is not None:
            self.appending.discard()
        self.deselect()
        if self._unlose is not None:
            self._unlose()
            self._unlose = None
        if self._account is not None:
            self._account.release()
            self._account = None

    def _lose(self) -> None:
        """The account is lost: what is under way is not answered, then the session ends."""
        self.stop_idling()
        self.stream.interrupt()

    # --- the selected mailbox ----------------------------------------------------------------------------------------

    def chosen(self) -> Selected:
        """The selected mailbox; the engine lets commands that ask for it pass in the selected state only."""
        if self.selected is None:
            raise RookeryError(Cause.NOT_FOUND, "no mailbox is selected")
        return self.selected

    def deselect(self) -> None:
        if self.selected is not None:
            self.selected.release()
            self.selected = None

    def report(self, *, expunge: bool) -> None:
        """Tell what has happened in the selected mailbox since the last report."""
        selected = self.selected
        if selected is None:
            return
        updates = selected.updates(expunge=expunge)
        if updates is None:
            return
        lines = [b"* %d EXPUNGE\r\n" % number for number in updates.expunged]
        if updates.exists is not None:
            lines.append(responses.exists(updates.exists))
            if not self.rev2:
                self.claim_recent(selected)
                lines.append(responses.recent(selected.recent_count()))
        if updates.flagged:
            lines.append(selected.flag_lines(updates.flagged, uid=self.rev2, modseq=self.condstore))
        if lines:
            self.send(b"".join(lines))

    def claim_recent(self, selected: Selected) -> None:
        r"""What no session has seen becomes \Recent here; a session that only examines takes nothing from others."""
        if self.rev2:
            return
        recents = self.services.recents
        ask = recents.look if selected.readonly else recents.claim
        fresh = ask(self.account, selected.number, selected.view.highest + 1)
        if fresh:
            selected.recent = selected.recent | fresh

    # --- IDLE --------------------------------------------------------------------------------------------------------

    def start_idling(self) -> None:
        self.unwatch = self.account.watch(self._wake)
        self.engine.idle()
        self.report(expunge=True)

    def stop_idling(self) -> None:
        if self.unwatch is not None:
            self.unwatch()
            self.unwatch = None

    def _wake(self) -> None:
        """Something was committed in the account. A client that does not take what it was sent is told later."""
        if self.stream.unsent:
            if self._catching_up is None:
                self._catching_up = asyncio.get_running_loop().create_task(self._catch_up())
            return
        try:
            self.report(expunge=True)
        except RookeryError as error:
            log.refused("idle", error.refusal, session=self.id)
            return
        lines = self.engine.outgoing()
        if lines:
            self.stream.write(lines)

    async def _catch_up(self) -> None:
        try:
            await self.stream.drain()
        except TimeoutError:
            self.stream.abort()
            return
        finally:
            self._catching_up = None
        if self.unwatch is not None:
            self._wake()

    # --- commands ----------------------------------------------------------------------------------------------------

    def complete(self, tag: bytes, line: bytes, *, expunge: bool) -> None:
        """End a command: first what has happened meanwhile, then the tagged line."""
        if self.lost:
            return
        try:
            self.report(expunge=expunge)
        except RookeryError as error:
            log.refused("report", error.refusal, session=self.id)
        self.send(b"%b %b\r\n" % (tag, line))

    def unfinished(self) -> bool:
        """Whether a command has begun to arrive; for the pump."""
        return (self.appending is not None or bool(self.engine.leftover())) and not self.lost

    def begin_turn(self) -> None:
        """At the start of a command that may take long."""
        self._turn = self.services.clock.monotonic() + TURN
