"""Passwords and names of any length and content cost one bounded check at most, and never reach the database raw."""

import pytest

from rookery.access.login import Rejected, SaslSession
from rookery.base.errors import Cause, RookeryError
from rookery.distribution.auth import schemes
from rookery.distribution.directory.values import Hashed, Plain
from tests.auth.conftest import Site, hasher, site

__all__ = ["hasher", "site"]


async def _plain(site: Site, message: bytes) -> Cause:
    session = SaslSession(site.authenticator, protocol="imap", peer="", session="s", tls=True)
    step = await session.start("PLAIN", message)
    assert isinstance(step, Rejected)
    return step.cause


async def test_long_passwords_are_wrong_not_hashed(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    lengths: list[int] = []
    real = schemes.parse

    def parse(text: str) -> schemes.Hash:
        parsed = real(text)
        return schemes.Hash(parsed.scheme, lambda p: lengths.append(len(p)) or parsed.check(p), parsed.current)

    monkeypatch.setattr(schemes, "parse", parse)
    assert await _plain(site, b"\0alice\0" + b"x" * 8000) is Cause.BAD_CREDENTIALS
    assert await _plain(site, b"\0alice\0" + b"x" * 100_000) is Cause.INVALID
    for password in ("y" * 1_000_000, "\u2168" * 1025, "å" * 1024):
        with pytest.raises(RookeryError):
            await site.check("alice", password)
    assert max(lengths, default=0) <= schemes.PASSWORD_LIMIT
    with pytest.raises(RookeryError) as caught:
        await site.admin.set_password("alice@d.test", Plain("x" * 2000))
    assert caught.value.cause is Cause.TOO_BIG


async def test_nul_does_not_cut_a_password(site: Site) -> None:
    assert await _plain(site, b"\0alice\0wonderland\0") is Cause.INVALID
    assert await _plain(site, b"\0alice\0\0wonderland") is Cause.INVALID
    await site.admin.set_password(
        "bob@d.test", Hashed("{BLF-CRYPT}$2y$05$2./.bb/e/gAQPDaA6V62F.rlZxTPtM50NkDisEmzzfZTPmDX8u6TK")
    )
    with pytest.raises(RookeryError):
        await site.check("bob", "secret\0and more")
    await site.check("bob", "secret")


async def test_a_costly_hash_is_refused_at_the_door(site: Site) -> None:
    for text in ("{SHA512-CRYPT}$6$rounds=999999999$salt$" + "a" * 86, "{PBKDF2}$1$s$999999999$" + "0" * 40):
        with pytest.raises(RookeryError) as caught:
            await site.admin.set_password("bob@d.test", Hashed(text))
        assert caught.value.cause is Cause.TOO_BIG
