"""What a frontend may ask of the directory, and what a stolen one gets out of it."""

import math

import pytest

from rookery.access import directory_service
from rookery.access.directory_service import EXCHANGE_TIME, DirectoryService
from rookery.base.clock import ManualClock
from rookery.base.errors import Cause, Refusal, RookeryError
from rookery.base.ids import AccountId
from rookery.base.members import Member, Role
from rookery.distribution.directory.values import AccountRecord
from rookery.distribution.service.calls import (
    Again,
    Answer,
    Begin,
    Cancel,
    Challenge,
    Client,
    Expect,
    Granted,
    Host,
    Nothing,
    Question,
    Recipient,
    Step,
    Verdict,
    decode_answer,
    encode,
    refused,
)
from rookery.distribution.service.handles import Handles
from rookery.distribution.service.known import KnownDirectory
from rookery.distribution.service.logins import Logins
from rookery.distribution.service.questions import Questions
from tests.auth.conftest import Site
from tests.wire.sasl.scram_client import ScramClient

B1, B2 = Host("b1", "192.0.2.21:8143"), Host("b2", "192.0.2.22:8143")


def node(name: str, *roles: Role) -> Member:
    return Member(name, frozenset(roles), b"", 0)


F1, F2, MX = node("f1", Role.FRONTEND), node("f2", Role.FRONTEND), node("mx1", Role.MX_IN)


class World:
    """A directory node, and what a backend is told by it."""

    def __init__(self, site: Site) -> None:
        self.clock: ManualClock = site.clock
        self.handles = Handles(self.clock)
        self.away = False
        self.back = math.inf  # when it ends
        self._site = site
        self.serve()

    def serve(self) -> None:
        site = self._site
        self.service = DirectoryService(
            site.directory,
            site.authenticator,
            self.bring,
            self.passing,
            self.where,
            node="d1",
            clock=site.clock,
            sleep=self.sleep,
        )
        self.questions = Questions()
        self.service.take(self.questions)

    async def sleep(self, seconds: float) -> None:
        self.clock.advance(seconds)
        if self.clock.monotonic() >= self.back:
            self.away = False

    async def where(self, account: AccountRecord, tried: str) -> Host:
        return B2 if tried == B1.backend else B1

    async def bring(self, account: AccountRecord, expect: Expect) -> tuple[Host, bytes]:
        if self.away:
            raise RookeryError(Cause.UNAVAILABLE, "the host does not answer")
        assert account.account == expect.account
        return B1, self.handles.expect(account.account, expect.protocol, expect.frontend, expect.session)

    def passing(self, comes: Expect, beyond: Granted) -> bytes:
        account = AccountId(comes.account)
        return self.handles.expect(account, comes.protocol, comes.frontend, comes.session, beyond)

    def seen_by(self, node: Member) -> Logins:
        async def ask(data: bytes, there: str = "") -> tuple[bytes, str]:
            return await self.questions.answer(node, data), "d1:7143"

        return Logins(ask, self.clock)

    async def told(self, node: Member, question: Question) -> Answer:
        """What a node hears that asks whatever it likes. Raises RookeryError."""
        return decode_answer(await self.questions.answer(node, encode(question)), Challenge, Granted, Nothing)  # type: ignore[return-value]

    def addresses_seen_by(self, node: Member) -> KnownDirectory:
        async def call(data: bytes) -> bytes:
            return await self.questions.answer(node, data)

        return KnownDirectory(call, self.clock)


@pytest.fixture
def world(site: Site) -> World:
    return World(site)


def client(address: str = "198.51.100.7", tls: bool = True) -> Client:
    return Client("imap", address, "session", tls)


async def refusal(asked: object) -> Cause:
    with pytest.raises(RookeryError) as told:
        await asked  # type: ignore[misc]
    return told.value.cause


async def test_who_passes_sessions_on_does_not_choose_whom_others_dial(world: World) -> None:
    async def ask(data: bytes, there: str = "") -> tuple[bytes, str]:
        granted = Granted(bytes(16), bytes(16), "alice@d.test", Host("b1", "169.254.169.254:80"), bytes(16))
        return encode(granted), "f1:7143"

    granted = await Logins(ask, world.clock, passed_on=True).begin(client(), "PLAIN", b"\0alice\0wonderland")
    assert isinstance(granted, Granted)
    assert granted.host == Host("b1", "f1:7143")


async def test_a_login_ends_with_a_handle_for_its_account_at_its_host(world: World, site: Site) -> None:
    directory = world.seen_by(F1)
    granted = await directory.begin(client(), "PLAIN", b"\0alice\0wonderland")
    alice = site.directory.account("alice@d.test")
    assert alice is not None
    assert isinstance(granted, Granted)
    assert (granted.account, granted.name, granted.host) == (alice.account, "alice@d.test", B1)
    coming = world.handles.redeem(granted.handle, alice.account, "imap", "f1")
    assert coming is not None
    assert (coming.session, coming.beyond) == ("session", None)


async def test_exchanges_of_several_steps(world: World) -> None:
    directory = world.seen_by(F1)
    first = await directory.begin(client(), "LOGIN", None)
    assert isinstance(first, Challenge)
    second = await directory.step(first.exchange, b"alice")
    assert isinstance(second, Challenge)
    assert await refusal(world.told(F1, Step(first.exchange, b"alice"))) is Cause.UNAVAILABLE
    assert isinstance(await directory.step(second.exchange, b"wonderland"), Granted)
    scram = ScramClient("alice", "wonderland")
    asked = await directory.begin(client(), "SCRAM-SHA-256", scram.first())
    assert isinstance(asked, Challenge)


async def test_an_exchange_is_its_own_nodes_and_ends(world: World) -> None:
    directory = world.seen_by(F1)
    begun = await directory.begin(client(), "LOGIN", None)
    assert isinstance(begun, Challenge)
    assert await refusal(world.told(F2, Step(begun.exchange, b"alice"))) is Cause.UNAVAILABLE
    await world.told(F2, Cancel(begun.exchange))
    second = await directory.step(begun.exchange, b"alice")
    assert isinstance(second, Challenge)
    await directory.cancel(second.exchange)
    assert await refusal(world.told(F1, Step(second.exchange, b"alice"))) is Cause.UNAVAILABLE
    late = await directory.begin(client(), "LOGIN", None)
    assert isinstance(late, Challenge)
    world.clock.advance(EXCHANGE_TIME)
    assert await refusal(directory.step(late.exchange, b"alice")) is Cause.UNAVAILABLE


async def test_exchanges_are_bounded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory_service, "EXCHANGES", 2)
    directory = world.seen_by(F1)
    begun = [await directory.begin(client(), "LOGIN", None) for _ in range(3)]
    first, *others = [one.exchange for one in begun if isinstance(one, Challenge)]
    assert await refusal(directory.step(first, b"alice")) is Cause.UNAVAILABLE
    assert isinstance(await directory.step(others[0], b"alice"), Challenge)


@pytest.mark.parametrize(
    ("mechanism", "initial", "cause"),
    [
        ("PLAIN", b"\0alice\0wrong", Cause.BAD_CREDENTIALS),
        ("PLAIN", b"\0nobody\0wrong", Cause.BAD_CREDENTIALS),
        ("PLAIN", b"bob\0alice\0wonderland", Cause.DENIED),
        ("PLAIN", b"nonsense", Cause.INVALID),
        ("GSSAPI", None, Cause.UNSUPPORTED),
    ],
)
async def test_what_is_refused(world: World, mechanism: str, initial: bytes | None, cause: Cause) -> None:
    assert await refusal(world.seen_by(F1).begin(client(), mechanism, initial)) is cause
    assert not len(world.handles)


async def test_without_tls_or_an_address_there_is_no_login(world: World) -> None:
    plain = b"\0alice\0wonderland"
    assert await refusal(world.seen_by(F1).begin(client(tls=False), "PLAIN", plain)) is Cause.DENIED
    for address in ("", "localhost", "198.51.100.300", "198.51.100.7%\0", "fe80::1%<b>"):
        assert await refusal(world.seen_by(F1).begin(client(address), "PLAIN", plain)) is Cause.INVALID


@pytest.mark.parametrize("protocol", ["", "\0", "lmtp", "smtp", "ask", "IMAP"])
async def test_only_who_speaks_what_a_frontend_brings_logs_in(world: World, protocol: str) -> None:
    """It is kept with the account, as that of its last login."""
    said = Client(protocol, "198.51.100.7", "session", True)
    assert await refusal(world.seen_by(F1).begin(said, "PLAIN", b"\0alice\0wonderland")) is Cause.DENIED


async def test_a_host_that_dies_is_looked_for_until_another_is_found(world: World) -> None:
    world.away, world.back = True, world.clock.monotonic() + 1.0
    assert isinstance(await world.seen_by(F1).begin(client(), "PLAIN", b"\0alice\0wonderland"), Granted)


async def test_a_host_that_does_not_answer_opens_nothing(world: World) -> None:
    world.away = True
    asked = world.seen_by(F1).begin(client(), "PLAIN", b"\0alice\0wonderland")
    assert await refusal(asked) is Cause.UNAVAILABLE


async def test_what_a_host_finds_wrong_is_not_called_so_when_the_directory_did_not(world: World) -> None:
    """A directory node does not reach the host, and that one has not heard of a new password."""
    cut: list[Refusal] = []

    async def ask(data: bytes, there: str = "") -> tuple[bytes, str]:
        said = encode(refused(cut[0])) if cut and not there else await world.questions.answer(F1, data)
        return said, there or "d1:7143"

    directory = Logins(ask, world.clock)
    right, wrong = b"\0alice\0wonderland", b"\0alice\0looking-glass"
    assert isinstance(await directory.begin(client(), "PLAIN", right), Granted)
    assert await refusal(directory.begin(client(), "PLAIN", wrong)) is Cause.BAD_CREDENTIALS
    cut.append(Refusal(Cause.UNAVAILABLE, "the host does not answer"))
    assert await refusal(directory.begin(client(), "PLAIN", wrong)) is Cause.UNAVAILABLE
    assert isinstance(await directory.begin(client(), "PLAIN", right), Granted)


async def test_the_host_may_be_asked_for_again_for_a_while_and_only_by_who_brought_the_login(world: World) -> None:
    directory = world.seen_by(F1)
    granted = await directory.begin(client(), "PLAIN", b"\0alice\0wonderland")
    assert isinstance(granted, Granted)
    assert await refusal(world.told(F2, Again(granted.exchange))) is Cause.UNAVAILABLE
    for _ in range(directory_service.AGAIN - 1):
        last, granted = granted, await directory.again(granted.exchange)
        assert (granted.account, granted.host) == (last.account, B1)
        assert granted.handle != last.handle
        assert await refusal(world.told(F1, Again(last.exchange))) is Cause.UNAVAILABLE
    assert await refusal(directory.again(granted.exchange)) is Cause.INVALID
    late = await directory.begin(client(), "PLAIN", b"\0alice\0wonderland")
    assert isinstance(late, Granted)
    world.clock.advance(directory_service.AGAIN_TIME)
    assert await refusal(directory.again(late.exchange)) is Cause.UNAVAILABLE
    begun = await directory.begin(client(), "LOGIN", None)
    assert isinstance(begun, Challenge)
    assert await refusal(directory.again(begun.exchange)) is Cause.INVALID


async def test_a_session_is_passed_on_by_who_named_the_host_when_that_cannot_be_reached(world: World) -> None:
    """The frontend gets a handle of the node that it asked; that one has the host's, under its own name."""
    directory = world.seen_by(F1)
    granted = await directory.begin(client(), "PLAIN", b"\0alice\0wonderland")
    assert isinstance(granted, Granted)
    around = await directory.again(granted.exchange, relay=True)
    assert around.host == Host("b1", "d1:7143")
    alice = AccountId(around.account)
    assert world.handles.redeem(around.handle, alice, "imap", "f2") is None
    around = await directory.again(around.exchange, relay=True)
    coming = world.handles.redeem(around.handle, alice, "imap", "f1")
    assert coming is not None
    assert coming.beyond is not None
    assert coming.beyond.host == B1
    assert world.handles.redeem(coming.beyond.handle, alice, "imap", "f1") is None
    assert world.handles.redeem(around.handle, alice, "imap", "f1") is None


async def test_guesses_through_one_node_are_counted_and_end(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever addresses it claims for its clients, and whatever accounts it tries."""
    monkeypatch.setattr(directory_service, "FAILURES", 3)
    monkeypatch.setattr(directory_service, "FORGIVEN", 3_600.0)
    world.serve()
    directory = world.seen_by(F1)
    for number in range(3):
        asked = directory.begin(client(f"198.51.100.{number}"), "PLAIN", b"\0guess%d\0x" % number)
        assert await refusal(asked) is Cause.BAD_CREDENTIALS
        world.clock.advance(0.001)
    assert world.service.failed == {"f1": 3}
    right = Begin(client(), "PLAIN", b"\0alice\0wonderland")
    assert await refusal(directory.begin(right.client, right.mechanism, right.initial)) is Cause.TOO_MANY
    assert isinstance(await world.seen_by(F2).begin(right.client, right.mechanism, right.initial), Granted)


async def test_addresses(world: World) -> None:
    known = world.addresses_seen_by(MX)
    assert (await known.recipient("Alice+lists@D.test")).exists
    assert await known.recipient("nobody@d.test") == Verdict(False, True, directory_service.ABSENT_LIFETIME)
    assert await known.recipient("x@elsewhere.test") == Verdict(False, False, directory_service.ABSENT_LIFETIME)
    assert await refusal(known.recipient("not an address")) is Cause.INVALID


async def test_who_may_ask_what(world: World) -> None:
    async def never(caller: Member, question: Expect) -> Answer:
        raise AssertionError(f"asked by {caller.name}")

    stranger = node("s", Role.MX_OUT)
    world.questions.take(Expect, never, "expect")
    assert await refusal(world.seen_by(MX).begin(client(), "PLAIN", b"\0alice\0wonderland")) is Cause.DENIED
    assert await refusal(world.addresses_seen_by(stranger).recipient("alice@d.test")) is Cause.DENIED
    for question in (Recipient("alice@d.test"), Expect(b"a" * 16, "imap", "f1", "s")):
        assert b"denied" in await world.questions.answer(stranger, encode(question))
    assert b"denied" in await world.questions.answer(F1, encode(Expect(b"a" * 16, "imap", "f1", "s")))


async def test_where_deliveries_for_a_mailbox_go(world: World, site: Site) -> None:
    known = world.addresses_seen_by(MX)
    assert (await known.recipient("alice@d.test")).host is None  # not asked for
    for address in ("alice@d.test", "ALICE+detail@d.test"):
        assert (await known.recipient(address, host=True)).host == B1
    assert (await known.recipient("alice@d.test", host=True, tried="b1")).host == B2
    assert (await known.recipient("alice@d.test", host=True)).host == B2  # learned
    await site.admin.add_group("staff@d.test", ["alice@d.test", "bob@d.test"])
    staff = await known.recipient("staff@d.test", host=True)
    assert (staff.exists, staff.host) == (True, None)
    nobody = await known.recipient("nobody@d.test", host=True)
    assert (nobody.exists, nobody.local, nobody.host) == (False, True, None)


async def test_a_node_that_asks_without_end_is_slowed_down(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory_service, "BURST", 2)
    world.serve()
    known = world.addresses_seen_by(MX)
    for number in range(2):
        await known.recipient(f"guess{number}@d.test")
    assert await refusal(known.recipient("guess@d.test")) is Cause.TOO_MANY
    assert isinstance(await world.seen_by(F1).begin(client(), "LOGIN", None), Challenge)


@pytest.mark.parametrize("data", [b"", b"\xc1", b"\x91\xa5begin", b"\x92\xa9recipient\xda\xff\xff", b"\x90" * 1000])
async def test_nonsense_is_answered(world: World, data: bytes) -> None:
    assert b"invalid" in await world.questions.answer(F1, data)
