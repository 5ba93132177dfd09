"""access/login.py: which mechanisms, whole SASL exchanges, IMAP's LOGIN."""

import pytest

from rookery.access.login import Accepted, Challenge, Rejected, SaslSession, is_loopback, login, mechanisms, offered
from rookery.base.errors import Cause, RookeryError
from rookery.base.log import captured
from rookery.distribution.directory.values import CredentialKind, Plain
from tests.auth.conftest import Site
from tests.wire.sasl.scram_client import ScramClient


def _session(site: Site, *, peer: str = "192.0.2.1", tls: bool = True) -> SaslSession:
    return SaslSession(site.authenticator, protocol="submission", peer=peer, session="s", tls=tls)


def test_offered_mechanisms(site: Site) -> None:
    assert mechanisms(True, False) == ("PLAIN", "LOGIN")
    assert mechanisms(False, False) == ()
    assert mechanisms(False, True) == ("PLAIN", "LOGIN")
    assert mechanisms(False, True, plaintext_on_loopback=False) == ()
    assert mechanisms(False, False, scram=True) == ("SCRAM-SHA-256",)
    assert offered(site.authenticator, tls=True, peer="192.0.2.1") == ("SCRAM-SHA-256", "PLAIN", "LOGIN")


@pytest.mark.parametrize(
    ("address", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("", True),
        ("192.0.2.1", False),
        ("::ffff:192.0.2.1", False),
        ("localhost", False),
    ],
)
def test_loopback(address: str, loopback: bool) -> None:
    assert is_loopback(address) is loopback


async def test_plain_and_login(site: Site) -> None:
    step = await _session(site).start("plain", b"\0alice\0wonderland")
    assert isinstance(step, Accepted)
    assert step.account.address == "alice@d.test"
    session = _session(site)
    assert await session.start("PLAIN", None) == Challenge(b"")
    assert isinstance(await session.answer(b"alice@d.test\0ALICE\0wonderland"), Accepted)
    session = _session(site)
    assert await session.start("LOGIN", None) == Challenge(b"Username:")
    assert await session.answer(b"alice") == Challenge(b"Password:")
    assert isinstance(await session.answer(b"wonderland"), Accepted)


async def test_no_password_without_tls(site: Site) -> None:
    for mechanism in ("PLAIN", "LOGIN"):
        step = await _session(site, tls=False).start(mechanism, b"\0alice\0wonderland")
        assert step == Rejected(Cause.DENIED, "passwords need TLS")
    assert isinstance(
        await _session(site, tls=False, peer="127.0.0.1").start("PLAIN", b"\0alice\0wonderland"), Accepted
    )
    with pytest.raises(RookeryError) as caught:
        await login(
            site.authenticator, "alice", "wonderland", protocol="imap", peer="192.0.2.1", session="s", tls=False
        )
    assert caught.value.cause is Cause.DENIED
    record = await login(
        site.authenticator, "alice", "wonderland", protocol="imap", peer="192.0.2.1", session="s", tls=True
    )
    assert record.address == "alice@d.test"


async def test_unknown_mechanisms_and_answers_out_of_turn(site: Site) -> None:
    for mechanism in ("CRAM-MD5", "SCRAM-SHA-256-PLUS", "", "PLAIN "):
        step = await _session(site).start(mechanism, None)
        assert isinstance(step, Rejected)
        assert step.cause is Cause.UNSUPPORTED
    step = await _session(site).answer(b"x")
    assert isinstance(step, Rejected)
    session = _session(site)
    assert isinstance(await session.start("PLAIN", b"\0alice\0wrong"), Rejected)
    assert isinstance(await session.answer(b"\0alice\0wonderland"), Rejected)  # over


async def _scram(site: Site, user: str, password: str, peer: str = "192.0.2.1") -> tuple[object, ScramClient]:
    session = _session(site, peer=peer, tls=False)
    client = ScramClient(user, password)
    first = await session.start("SCRAM-SHA-256", client.first())
    assert isinstance(first, Challenge)
    final = await session.answer(client.final(first.data))
    if isinstance(final, Challenge):
        assert final.data == client.expected
        return await session.answer(b""), client
    return final, client


async def test_scram(site: Site) -> None:
    step, _ = await _scram(site, "alice", "wonderland")
    assert isinstance(step, Accepted)
    assert step.account.address == "alice@d.test"
    assert site.hasher.count == 0
    step, _ = await _scram(site, "alice@d.test", "Wonderland")
    assert step == Rejected(Cause.BAD_CREDENTIALS)
    assert site.slept == [0.5]


async def test_scram_takes_every_app_password(site: Site) -> None:
    passwords = [await site.admin.add_app_password("alice@d.test", f"app {i}") for i in range(3)]
    for password in (*passwords, "wonderland"):
        step, _ = await _scram(site, "alice", password)
        assert isinstance(step, Accepted)
    await site.admin.remove_app_password("alice@d.test", "app 1")
    step, _ = await _scram(site, "alice", passwords[1])
    assert isinstance(step, Rejected)
    await site.admin.set_password("alice@d.test", Plain("looking-glass"))
    for password, taken in ((passwords[0], True), ("looking-glass", True), ("wonderland", False)):
        step, _ = await _scram(site, "alice", password)
        assert isinstance(step, Accepted) is taken


async def test_scram_keys_come_with_the_first_proof(site: Site) -> None:
    step, _ = await _scram(site, "bob", "secret")
    assert isinstance(step, Rejected)  # an imported hash has no key
    record = await site.check("bob", "secret")
    await site.authenticator.settle()
    assert len(site.rows(record.account, CredentialKind.SCRAM)) == 1
    step, _ = await _scram(site, "bob", "secret")
    assert isinstance(step, Accepted)


async def test_a_password_changed_between_two_scram_messages(site: Site) -> None:
    session, client = _session(site), ScramClient("alice", "wonderland")
    first = await session.start("SCRAM-SHA-256", client.first())
    assert isinstance(first, Challenge)
    await site.admin.set_password("alice@d.test", Plain("looking-glass"))
    assert await session.answer(client.final(first.data)) == Rejected(Cause.BAD_CREDENTIALS)


async def test_scram_is_limited_like_passwords(site: Site) -> None:
    for i in range(20):
        step, _ = await _scram(site, f"user{i}", "guess")
        assert isinstance(step, Rejected)
        site.clock.advance(-site.slept[-1])
    step, _ = await _scram(site, "alice", "wonderland")
    assert step == Rejected(Cause.TOO_MANY, "too many failed logins")


async def test_acting_as_somebody_else_is_refused(site: Site) -> None:
    with captured() as lines:
        step = await _session(site).start("PLAIN", b"bob@d.test\0alice\0wonderland")
        assert isinstance(step, Rejected)
        assert step.cause is Cause.DENIED
        client = ScramClient("alice", "wonderland", gs2="n,a=bob@d.test,")
        step = await _session(site).start("SCRAM-SHA-256", client.first())
        assert isinstance(step, Rejected)
        assert step.cause is Cause.DENIED
    assert [fields["reason"] for _, event, fields in lines if event == "login-failed"] == ["authorization"] * 2
    assert site.hasher.count == 0


async def test_broken_exchanges_are_counted(site: Site) -> None:
    for message in (b"\0alice\0wonder\0land", b"nonsense", b"\0\0", b"\xff\0\xff\0\xff"):
        step = await _session(site).start("PLAIN", message)
        assert isinstance(step, Rejected)
        assert step.cause is Cause.INVALID
    assert site.hasher.count == 0
    assert len(site.slept) == 4
