"""Asking who exists: neither SASL's answers, nor delays, nor work done, nor SCRAM's salt tell."""

import base64
from pathlib import Path

from rookery.access.login import Challenge, Rejected, SaslSession
from rookery.distribution.directory.opening import open_directory
from rookery.distribution.directory.settings import DirectorySettings
from rookery.distribution.directory.values import Plain
from rookery.storage.gate import Gate
from tests.auth.conftest import CountingHasher, Site, hasher, site
from tests.wire.sasl.scram_client import ScramClient

__all__ = ["hasher", "site"]


def _session(site: Site, peer: str) -> SaslSession:
    return SaslSession(site.authenticator, protocol="imap", peer=peer, session="s", tls=True)


async def test_plain_answers_alike(site: Site) -> None:
    await site.admin.add_alias("info@d.test", ["alice@d.test"])
    await site.admin.remove_account("carol@d.test")
    seen = set()
    for i, name in enumerate((b"alice", b"bob", b"carol", b"nobody", b"info", b"x@no.test", b"postmaster")):
        before, waited = site.hasher.count, len(site.slept)
        step = await _session(site, f"192.0.2.{i}").start("PLAIN", b"\0" + name + b"\0wrong password")
        seen.add((step, site.hasher.count - before, tuple(site.slept[waited:])))
    assert len(seen) == 1


async def _salt(site: Site, user: str) -> tuple[bytes, int]:
    first = await _session(site, "192.0.2.1").start("SCRAM-SHA-256", ScramClient(user, "x").first())
    assert isinstance(first, Challenge)
    _, salt, iterations = first.data.decode().split(",", 2)
    return base64.b64decode(salt[2:]), int(iterations[2:])


async def test_scram_salts_are_steady_and_alike(site: Site) -> None:
    salts = {user: await _salt(site, user) for user in ("alice", "bob", "carol", "nobody@d.test", "x@no.test")}
    assert len(set(salts.values())) == 5
    assert {(len(salt), iterations) for salt, iterations in salts.values()} == {(16, 64)}
    for user, salt in salts.items():
        assert await _salt(site, user) == salt
        assert await _salt(site, user.upper()) == salt
    # A salt does not change when an account is made, gets its first key, a new password, or is disabled.
    await site.admin.add_account("nobody@d.test", Plain("secret"))
    await site.check("bob", "secret")
    await site.authenticator.settle()
    await site.admin.set_password("alice@d.test", Plain("looking-glass"))
    await site.admin.change_account("carol@d.test", enabled=False)
    for user, salt in salts.items():
        assert await _salt(site, user) == salt


async def test_scram_proofs_fail_alike(site: Site) -> None:
    seen = set()
    for i, user in enumerate(("alice", "bob", "carol", "nobody")):
        session, client = _session(site, f"192.0.2.{i}"), ScramClient(user, "wrong")
        first = await session.start("SCRAM-SHA-256", client.first())
        assert isinstance(first, Challenge)
        waited = len(site.slept)
        step = await session.answer(client.final(first.data))
        assert isinstance(step, Rejected)
        seen.add((step, tuple(site.slept[waited:])))
    assert len(seen) == 1


async def test_another_scram_setting_does_not_tell_old_accounts_from_names(
    site: Site, tmp_path: Path, hasher: CountingHasher
) -> None:
    settings = DirectorySettings(scram=True, scram_iterations=128)
    again = open_directory(tmp_path / "directory.db", clock=site.clock, gate=Gate(), hasher=hasher, settings=settings)
    try:
        later = Site(again, hasher, site.clock)
        await later.admin.add_account("dora@d.test", Plain("secret"))
        asked = [await _salt(later, user) for user in ("alice", "dora", "nobody@d.test")]
        assert {iterations for _, iterations in asked} == {64}
    finally:
        await again.close()


async def test_other_names_of_a_domain_tell_nothing(site: Site) -> None:
    """Salts, delays and identities go by one name, whether the account is there or not."""
    await site.admin.add_domain_alias("d.test", "d.example")
    seen = set()
    for i, user in enumerate(("alice", "nobody")):
        assert await _salt(site, f"{user}@d.test") == await _salt(site, f"{user}@D.example")
        waited, steps = len(site.slept), []
        for n, (authzid, login) in enumerate((("test", "example"), ("example", "test"), ("example", "example"))):
            message = f"{user}@d.{authzid}\0{user}@d.{login}\0wrong password".encode()
            steps.append(await _session(site, f"192.0.{i}.{n}").start("PLAIN", message))
        assert [round(seconds) for seconds in site.slept[waited + 1 :]] == [1, 2]  # one budget for both names
        seen.add(tuple(steps))
    assert len(seen) == 1
