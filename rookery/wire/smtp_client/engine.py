"""The sending side of one connection, as a function of octets: greeting, EHLO or LHLO, TLS, login, transactions.

The engine writes commands ahead where the peer allows it (RFC 2920, RFC 3030) and fits the replies to them in order.
It never raises on what a peer sends: nonsense ends in a `Broken` event, and every transaction under way gets an
outcome. It does not decide what an outcome means; that is the queue's.
"""

from collections import deque
from collections.abc import Sequence
from enum import Enum, auto

from rookery.wire.engine import Wants, taken
from rookery.wire.smtp_client import commands
from rookery.wire.smtp_client.dots import DotStuffer
from rookery.wire.smtp_client.events import (
    BodyWanted,
    Broken,
    Event,
    Finished,
    Greeted,
    LoggedIn,
    LoginRefused,
    Mail,
    Ready,
    Refused,
    TlsRefused,
    TlsWanted,
)
from rookery.wire.smtp_client.extensions import Extensions, read_extensions
from rookery.wire.smtp_client.replies import BadReply, Reply, ReplyReader


class Stage(Enum):
    """What the engine waits for; drivers have a time limit for each (RFC 5321 section 4.5.3.2)."""

    GREETING = auto()
    HELLO = auto()
    TLS = auto()
    LOGIN = auto()
    MAIL = auto()
    RCPT = auto()
    DATA = auto()  # for 354
    BODY = auto()  # for the driver's chunks
    END = auto()  # for the answer to the last octet
    RESET = auto()
    QUIT = auto()
    IDLE = auto()


class _Transaction:
    """One mail under way. `accepted`: indexes of recipients that were taken; `answered`: final replies so far.

    `refused`: MAIL was; nothing that follows can change it.
    """

    __slots__ = ("accepted", "answered", "mail", "refused", "replies")

    def __init__(self, mail: Mail) -> None:
        self.mail = mail
        self.replies: list[Reply | None] = [None] * len(mail.recipients)
        self.accepted: list[int] = []
        self.answered = 0
        self.refused = False

    def refuse_all(self, reply: Reply) -> None:
        """What has no outcome yet gets this one."""
        self.replies = [reply if old is None else old for old in self.replies]

    def outcome(self) -> Finished:
        lost = Reply(421, "4.4.2", "no answer")
        return Finished(self.mail, tuple(lost if reply is None else reply for reply in self.replies))


_Expected = tuple[Stage, _Transaction | None, int]


class SmtpClient:
    """One connection. Wait for `Greeted`, call `hello()`, wait for `Ready`, then `send` transactions."""

    __slots__ = (
        "_broken",
        "_current",
        "_expected",
        "_helo",
        "_hostname",
        "_lmtp",
        "_login",
        "_out",
        "_reader",
        "_stuffer",
        "_unsent",
        "extensions",
        "wants",
    )

    def __init__(self, hostname: str, *, lmtp: bool = False) -> None:
        self._hostname = hostname
        self._lmtp = lmtp
        self._reader = ReplyReader()
        self._expected: deque[_Expected] = deque([(Stage.GREETING, None, 0)])
        self._out: list[bytes] = []
        self._helo = False
        self._broken = False
        self._current: _Transaction | None = None  # the one whose DATA waits for the driver
        self._stuffer = DotStuffer()
        self._unsent: deque[tuple[bytes, _Expected]] = deque()  # held back from a peer without PIPELINING
        self._login: list[bytes] = []
        self.extensions = Extensions()
        self.wants = Wants.MORE

    # --- octets

    def receive(self, data: bytes) -> Sequence[Event]:
        if self._broken:
            return ()
        events: list[Event] = []
        try:
            for reply in self._reader.receive(data):
                self._reply(reply, events)
                if self._broken:
                    break
        except BadReply as error:
            self._break(Reply(451, "4.5.0", f"the peer sent {error}"), str(error), events)
        return events

    def lost(self, what: str) -> Sequence[Event]:
        """The connection is gone or the peer too slow: outcomes for all that is under way."""
        events: list[Event] = []
        if not self._broken:
            self._break(Reply(421, "4.4.2", what), what, events)
        return events

    def outgoing(self) -> bytes:
        return taken(self._out)

    def leftover(self) -> bytes:
        return self._reader.leftover()

    @property
    def broken(self) -> bool:
        """Nothing more can be said on this connection."""
        return self._broken

    @property
    def stage(self) -> Stage:
        if self._expected:
            return self._expected[0][0]
        return Stage.BODY if self._current is not None else Stage.IDLE

    # --- the way to a ready connection

    def hello(self) -> None:
        if self._lmtp:
            verb = "LHLO"
        else:
            verb = "HELO" if self._helo else "EHLO"
        self._command(commands.hello(verb, self._hostname), (Stage.HELLO, None, 0))

    def start_tls(self) -> None:
        """Events: TlsWanted (upgrade, call `tls_started`, then `hello`) or TlsRefused."""
        self._command(b"STARTTLS\r\n", (Stage.TLS, None, 0))

    def tls_started(self) -> None:
        """RFC 3207 section 4.2: forget what was learned in clear."""
        self.extensions = Extensions()
        self.wants = Wants.MORE

    def login(self, name: str, password: str) -> None:
        """By PLAIN, or LOGIN where only that is offered. Events: LoggedIn or LoginRefused."""
        if "PLAIN" in self.extensions.auth or "LOGIN" not in self.extensions.auth:
            self._command(commands.auth_plain(name, password), (Stage.LOGIN, None, 0))
        else:
            self._login = [commands.auth_login_answer(password), commands.auth_login_answer(name)]
            self._command(b"AUTH LOGIN\r\n", (Stage.LOGIN, None, 0))

    def quit(self) -> None:
        self._command(b"QUIT\r\n", (Stage.QUIT, None, 0))

    # --- transactions

    def send(self, mail: Mail) -> None:
        """MAIL, RCPT and DATA. Events: BodyWanted, then the driver calls `body` and `end_body`; Finished at last.

        With `mail.whole` set and a peer with CHUNKING and PIPELINING everything leaves at once, and several
        transactions may be under way. Raises Unsendable.
        """
        extensions = self.extensions
        transaction = _Transaction(mail)
        lines = [commands.mail_line(mail, extensions)]
        lines += [commands.rcpt_line(recipient, extensions) for recipient in mail.recipients]
        self._command(lines[0], (Stage.MAIL, transaction, 0))
        for i, line in enumerate(lines[1:]):
            self._command(line, (Stage.RCPT, transaction, i))
        if mail.whole is None or not (extensions.chunking and extensions.pipelining):
            self._command(b"DATA\r\n", (Stage.DATA, transaction, 0))
        else:
            self._command(b"BDAT %d LAST\r\n" % len(mail.whole), (Stage.END, transaction, 0))
            self._out.append(mail.whole)

    def body(self, chunk: bytes) -> None:
        self._out.append(self._stuffer.add(chunk))

    def end_body(self) -> None:
        transaction, self._current = self._current, None
        if transaction is not None:
            self._out.append(self._stuffer.end())
            self._expected.append((Stage.END, transaction, 0))

    # --- inside

    def _command(self, line: bytes, expected: _Expected) -> None:
        if self._broken:
            return
        if self._unsent or (self._expected and not self.extensions.pipelining):
            self._unsent.append((line, expected))
        else:
            self._out.append(line)
            self._expected.append(expected)

    def _reply(self, reply: Reply, events: list[Event]) -> None:
        if reply.code == 421 and not (self._expected and self._expected[0][0] is Stage.QUIT):
            # RFC 5321 section 3.8: the server may say so at any time, and goes
            self._break(reply, str(reply), events)
            return
        if not self._expected:
            self._break(_as_refusal(reply), "the peer answered what nobody asked", events)
            return
        stage, transaction, i = self._expected[0]
        if transaction is not None:
            if self._transaction_reply(stage, transaction, i, reply, events):
                self._expected.popleft()
        else:
            self._expected.popleft()
            self._session_reply(stage, reply, events)
        while self._unsent and not self._expected and not self._broken:
            self._next(events)

    def _next(self, events: list[Event]) -> None:
        """Send one command that was held back, or leave it out where it can achieve nothing any more."""
        line, expected = self._unsent.popleft()
        stage, transaction, _ = expected
        if transaction is not None and transaction.refused and stage is not Stage.MAIL:
            if stage is Stage.DATA:
                self._finish(transaction, events)
            return
        if transaction is not None and stage is Stage.DATA and not transaction.accepted:
            self._finish(transaction, events)
            return
        self._out.append(line)
        self._expected.append(expected)

    def _session_reply(self, stage: Stage, reply: Reply, events: list[Event]) -> None:
        if stage is Stage.GREETING:
            events.append(Greeted(reply) if reply.positive else Refused(reply))
        elif stage is Stage.HELLO:
            self._hello_reply(reply, events)
        elif stage is Stage.TLS:
            if reply.code == 220:
                self.wants = Wants.START_TLS
                events.append(TlsWanted())
            else:
                events.append(TlsRefused(reply))
        elif stage is Stage.LOGIN:
            if reply.code == 334 and self._login:
                self._command(self._login.pop(), (Stage.LOGIN, None, 0))
            else:
                self._login.clear()
                events.append(LoggedIn() if reply.positive else LoginRefused(reply))
        elif stage is Stage.QUIT:
            self._broken = True
            self.wants = Wants.CLOSE

    def _hello_reply(self, reply: Reply, events: list[Event]) -> None:
        if reply.positive:
            self.extensions = Extensions() if self._helo else read_extensions(reply)
            events.append(Ready(self.extensions))
        elif reply.permanent and not self._helo and not self._lmtp:
            self._helo = True  # RFC 5321 section 3.2: a server that does not know EHLO
            self.hello()
        else:
            events.append(Refused(reply))

    def _transaction_reply(
        self, stage: Stage, transaction: _Transaction, i: int, reply: Reply, events: list[Event]
    ) -> bool:
        """False while more replies to the same command are to come."""
        if stage is Stage.MAIL:
            if not reply.positive:
                transaction.refused = True
                transaction.refuse_all(_as_refusal(reply))
        elif stage is Stage.RCPT:
            if reply.positive and transaction.replies[i] is None:
                transaction.accepted.append(i)
            elif transaction.replies[i] is None:
                transaction.replies[i] = _as_refusal(reply)
        elif stage is Stage.DATA:
            self._data_reply(transaction, reply, events)
        elif stage is Stage.END:
            return self._end_reply(transaction, reply, events)
        return True

    def _data_reply(self, transaction: _Transaction, reply: Reply, events: list[Event]) -> None:
        if reply.code == 354:
            self._stuffer = DotStuffer()
            self._current = transaction
            if transaction.accepted:
                events.append(BodyWanted(transaction.mail, tuple(transaction.accepted)))
            else:  # RFC 2920 section 3.1: DATA was written ahead; end it with nothing in it
                self.end_body()
            return
        transaction.refuse_all(_as_refusal(reply))
        self._finish(transaction, events)

    def _end_reply(self, transaction: _Transaction, reply: Reply, events: list[Event]) -> bool:
        accepted = transaction.accepted
        if not accepted:
            transaction.refuse_all(_as_refusal(reply))
            self._finish(transaction, events)
            return True
        if not self._lmtp:
            for i in accepted:
                transaction.replies[i] = reply if reply.positive else _as_refusal(reply)
            self._finish(transaction, events)
            return True
        # RFC 2033 section 4.2: one reply for each recipient that was taken, in their order
        transaction.replies[accepted[transaction.answered]] = reply if reply.positive else _as_refusal(reply)
        transaction.answered += 1
        if transaction.answered < len(accepted):
            return False
        self._finish(transaction, events)
        return True

    def _finish(self, transaction: _Transaction, events: list[Event]) -> None:
        events.append(transaction.outcome())
        if not transaction.accepted and not self._broken:
            # the server may still hold MAIL; begin the next one clean
            self._command(b"RSET\r\n", (Stage.RESET, None, 0))

    def _break(self, reply: Reply, what: str, events: list[Event]) -> None:
        """End the conversation; what was under way is answered by `reply`."""
        self._broken = True
        self.wants = Wants.CLOSE
        waiting: list[_Transaction] = [] if self._current is None else [self._current]
        for _, transaction, _ in (*self._expected, *(expected for _, expected in self._unsent)):
            if transaction is not None and transaction not in waiting:
                waiting.append(transaction)
        session = bool(self._expected) and self._expected[0][1] is None
        self._expected.clear()
        self._unsent.clear()
        self._current = None
        for transaction in waiting:
            transaction.refuse_all(reply)
            events.append(transaction.outcome())
        if session and reply.code == 421 and not waiting:
            events.append(Refused(reply))
        events.append(Broken(what))


def _as_refusal(reply: Reply) -> Reply:
    """An answer that fits nothing (a 2xx to nothing, a 3xx out of place) counts as a temporary failure."""
    if reply.code >= 400:
        return reply
    return Reply(451, "4.5.0", f"unexpected answer: {reply}")
