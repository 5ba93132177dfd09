"""Who belongs to the cluster: tokens that work once, certificates recorded before they exist, revocation."""

import asyncio
import hashlib
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from rookery.base.clock import ManualClock
from rookery.base.errors import Cause, RookeryError
from rookery.base.ids import system_random
from rookery.base.members import Role
from rookery.distribution.auth.hasher import Hasher
from rookery.distribution.directory import acts
from rookery.distribution.directory import rules_members as rm
from rookery.distribution.directory.administration import Administration
from rookery.distribution.directory.directory import Directory
from rookery.distribution.directory.members import Members
from rookery.distribution.directory.opening import MIGRATIONS, ensure_site, open_directory
from rookery.distribution.directory.values import AuthorityRecord, Kind, MemberRecord, Presence, Verb
from rookery.storage.gate import Gate
from rookery.storage.sqlite import SqliteDatabase

FIRST, SECOND, THIRD = (AuthorityRecord(bytes([n]) * 32, b"certificate", b"cross", 0) for n in (1, 2, 3))
MINE, THEIRS = b"k" * 32, b"t" * 32
DAY = 86400


class Office:
    """Acts on the directory as the authority would, which holds `signer`; `serials` counts what it gave."""

    def __init__(self, directory: Directory, signer: bytes = FIRST.id) -> None:
        self.directory = directory
        self.members = Members(directory)
        self.signer = signer
        self.serials = 0

    async def invite(self, name: str, *roles: Role, secret: bytes = b"s", lifetime: int = 3600) -> bytes:
        token, now = f"token of {name} {secret.hex()}".encode(), self.directory.now()
        act = rm.Invite(name, frozenset(roles or {Role.FRONTEND}), token, _hash(secret), now + lifetime, now)
        await self.directory.act(acts.INVITE, act)
        return token

    def made(self, key: bytes) -> rm.NewCertificate:
        self.serials += 1
        serial = hashlib.sha256(b"%d %d" % (id(self), self.serials)).digest()[:16]
        return rm.NewCertificate(serial, self.signer, key, self.directory.now() + DAY)

    async def redeem(self, token: bytes, key: bytes = MINE, secret: bytes = b"s") -> MemberRecord:
        act = rm.Redeem(token, _hash(secret), self.made(key), self.directory.now())
        return await self.directory.act(acts.REDEEM, act)

    async def renew(self, name: str, serial: bytes = b"", key: bytes = MINE) -> MemberRecord:
        return await self.directory.act(acts.RENEW, rm.Renew(name, serial, self.made(key), self.directory.now()))

    async def join(self, name: str, key: bytes = MINE) -> bytes:
        """Returns the serial."""
        made = self.made(key)
        act = rm.Redeem(await self.invite(name), _hash(b"s"), made, self.directory.now())
        await self.directory.act(acts.REDEEM, act)
        return made.serial


def _hash(secret: bytes) -> bytes:
    return hashlib.sha256(secret).digest()


@pytest.fixture
async def office(directory: Directory) -> Office:
    await found(directory)
    return Office(directory)


async def found(directory: Directory) -> None:
    await directory.act(acts.FOUND_CLUSTER, rm.FoundCluster("ab" * 16, FIRST, directory.now()))


async def refused(cause: Cause, act: object) -> str:
    with pytest.raises(RookeryError) as caught:
        await act  # type: ignore[misc]
    assert caught.value.cause is cause
    return caught.value.what


async def test_a_cluster_is_founded_once(directory: Directory) -> None:
    office = Office(directory)
    assert await office.members.cluster() == ""
    assert "cluster init" in await refused(Cause.NOT_FOUND, office.invite("n"))
    await found(directory)
    assert await office.members.cluster() == "ab" * 16
    assert await office.members.authorities() == [FIRST]
    await refused(Cause.EXISTS, found(directory))


async def test_a_token_works_once(office: Office, clock: ManualClock) -> None:
    token = await office.invite("b1", Role.BACKEND, Role.MX_OUT)
    made = await office.redeem(token)
    assert made == MemberRecord("b1", ("backend", "mx-out"), int(clock.wall()), 0, int(clock.wall()) + DAY)
    assert made.roles == {Role.BACKEND, Role.MX_OUT}
    said = await refused(Cause.DENIED, office.redeem(token, THEIRS))
    assert "has been used" in said
    assert "node revoke b1" in said
    again = await office.redeem(token)  # the answer was lost; the same key is the same node
    assert again == made
    clock.advance(3600)
    await refused(Cause.DENIED, office.redeem(token))
    assert [member.name for member in await office.members.members()] == ["b1"]


async def test_a_token_expires(office: Office, clock: ManualClock) -> None:
    token = await office.invite("n", lifetime=60)
    clock.advance(60)
    assert "has expired" in await refused(Cause.DENIED, office.redeem(token))
    assert await office.members.members() == []
    token = await office.invite("n", lifetime=60)
    clock.advance(59)
    await office.redeem(token)


async def test_who_has_not_the_secret_learns_nothing(office: Office, clock: ManualClock) -> None:
    token = await office.invite("n")
    guess = await refused(Cause.DENIED, office.redeem(token, secret=b"guess"))
    assert await refused(Cause.DENIED, office.redeem(b"none", secret=b"guess")) == guess
    assert await refused(Cause.DENIED, office.redeem(token, secret=b"")) == guess
    await office.redeem(token)
    assert await refused(Cause.DENIED, office.redeem(token, secret=b"guess")) == guess
    clock.advance(7200)
    assert await refused(Cause.DENIED, office.redeem(token, secret=b"guess")) == guess


async def test_a_new_token_replaces_the_former(office: Office) -> None:
    former = await office.invite("n", Role.DIRECTORY, secret=b"1")
    token = await office.invite("n", secret=b"2")
    await refused(Cause.DENIED, office.redeem(former, secret=b"1"))
    assert (await office.redeem(token, secret=b"2")).roles == {Role.FRONTEND}
    assert "node revoke n" in await refused(Cause.EXISTS, office.invite("n"))
    (invited,) = await office.members.invitations()
    assert (invited.name, invited.roles, invited.used) == ("n", {Role.FRONTEND}, True)


async def test_roles_are_those_of_the_row_also_if_a_newer_release_wrote_them(office: Office) -> None:
    await office.join("n")
    await office.directory.act(acts.REVOKE_MEMBER, rm.OneMember("n", office.directory.now()))
    token = await office.invite("n", Role.FRONTEND)
    member = await office.redeem(token)
    assert member.words == ("frontend",)
    newer = MemberRecord("n", ("filter-of-next-year", "frontend"), 0, 0, 0)
    assert newer.roles == {Role.FRONTEND}


async def test_a_revoked_node_is_out(office: Office, clock: ManualClock) -> None:
    old = await office.join("n")
    await office.join("other", THEIRS)
    unused = await office.invite("third")
    before = await office.members.revoked()
    assert (before.names, before.serials) == (frozenset(), frozenset())
    await office.renew("n", old)
    member = await office.members.revoke("n")
    assert member.revoked == int(clock.wall())
    revoked = await office.members.revoked()
    assert revoked.names == {"n"}
    assert old in revoked.serials
    assert len(revoked.serials) == 2
    assert revoked.number > before.number
    assert "node add n" in await refused(Cause.DENIED, office.renew("n", old))
    await refused(Cause.DENIED, office.renew("n"))  # by its key
    await refused(Cause.DENIED, office.renew("n", b"x" * 16))  # a number that this directory does not know
    token = b"token of n " + b"s".hex().encode()
    await refused(Cause.DENIED, office.redeem(token))
    await office.renew("other", key=THEIRS)
    assert (await office.members.revoke("third")).joined == 0
    await refused(Cause.DENIED, office.redeem(unused))
    await refused(Cause.NOT_FOUND, office.members.revoke("third"))


async def test_a_name_may_come_again_and_the_old_certificates_do_not(office: Office) -> None:
    old = await office.join("n", THEIRS)
    await office.members.revoke("n")
    new = await office.join("n", MINE)
    revoked = await office.members.revoked()
    assert revoked.names == frozenset()
    assert revoked.serials == {old}
    await refused(Cause.DENIED, office.renew("n", old))
    await refused(Cause.DENIED, office.renew("n", key=THEIRS))
    await office.renew("n", new)


async def test_a_certificate_renews_its_own_name_only(office: Office) -> None:
    serial = await office.join("n")
    await office.join("other", THEIRS)
    await refused(Cause.DENIED, office.renew("other", serial))
    await refused(Cause.DENIED, office.renew("other", key=MINE))
    await refused(Cause.DENIED, office.renew("stranger", b"x" * 16))
    await office.renew("other", b"x" * 16)  # given after the copy was made from which the directory was restored


async def test_a_node_that_was_away_comes_back_with_its_key(office: Office, clock: ManualClock) -> None:
    serial = await office.join("n")
    lost = office.made(THEIRS)  # an answer that the node never got
    await office.directory.act(acts.RENEW, rm.Renew("n", serial, lost, office.directory.now()))
    clock.advance(DAY + rm.AWAY_LIMIT - 1)
    await refused(Cause.DENIED, office.renew("n", key=b"x" * 32))
    await office.renew("n", key=MINE)
    clock.advance(DAY + rm.AWAY_LIMIT)
    assert "away for too long" in await refused(Cause.DENIED, office.renew("n", key=MINE))


async def test_ended_certificates_are_forgotten_when_a_new_one_is_given(office: Office, clock: ManualClock) -> None:
    await office.join("n")
    for _ in range(10):
        clock.advance(DAY / 2)
        await office.renew("n")
    await office.members.revoke("n")
    assert len((await office.members.revoked()).serials) <= 3


async def test_only_the_newest_authority_signs(office: Office, clock: ManualClock) -> None:
    old = await office.join("n")
    act = rm.AddAuthority(SECOND, FIRST.id, office.directory.now())
    await office.directory.act(acts.ADD_AUTHORITY, act)
    assert [one.id for one in await office.members.authorities()] == [FIRST.id, SECOND.id]
    for attempt in (office.renew("n", old), office.redeem(await office.invite("m"))):
        assert "authority.key" in await refused(Cause.CONFLICT, attempt)
    assert "authority.key" in await refused(Cause.CONFLICT, office.directory.act(acts.ADD_AUTHORITY, act))
    again = rm.AddAuthority(THIRD, SECOND.id, office.directory.now())
    assert "is not over" in await refused(Cause.CONFLICT, office.directory.act(acts.ADD_AUTHORITY, again))
    drop = rm.DropAuthorities
    clock.advance(DAY / 2)
    office.signer = SECOND.id
    await office.renew("n", old)
    assert await office.directory.act(acts.DROP_AUTHORITIES, drop(office.directory.now())) == 0
    clock.advance(DAY / 2 + rm.SKEW)
    assert await office.directory.act(acts.DROP_AUTHORITIES, drop(office.directory.now())) == 1
    assert await office.members.authorities() == [SECOND]
    assert await office.directory.act(acts.DROP_AUTHORITIES, drop(office.directory.now())) == 0
    await office.directory.act(acts.ADD_AUTHORITY, again)
    assert [one.id for one in await office.members.authorities()] == [SECOND.id, THIRD.id]


async def test_a_revoked_node_is_forgotten_when_nobody_would_take_its_certificate(
    office: Office, clock: ManualClock
) -> None:
    await office.join("n")
    await refused(Cause.IN_USE, office.members.forget("n"))
    await office.members.revoke("n")
    await refused(Cause.IN_USE, office.members.forget("n"))
    clock.advance(DAY + rm.SKEW)
    await office.members.forget("n")
    assert await office.members.members() == []
    assert (await office.members.revoked()).names == frozenset()
    await refused(Cause.NOT_FOUND, office.members.forget("n"))


async def test_there_are_not_too_many(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rm, "MEMBERS_LIMIT", 2)
    await office.join("n")
    await office.invite("m")
    assert "at most 2 nodes" in await refused(Cause.TOO_MANY, office.invite("o"))


async def test_the_log_tells_of_members_and_makes_nothing_stale(office: Office, site: Administration) -> None:
    directory = office.directory
    await directory.catch_up()
    before = directory.account("alice@d.test")
    seen = directory.last_change()
    await office.join("n")
    await office.members.revoke("n")
    changes = [(change.kind, change.object, change.verb) for change in directory.changes(seen)]
    assert changes == [(Kind.MEMBER, "n", verb) for verb in (Verb.CREATED, Verb.CHANGED, Verb.DESTROYED)]
    await directory.catch_up()
    assert directory.account("alice@d.test") is before  # the one in memory


# --- several directory nodes ------------------------------------------------------------------------------------------


@pytest.mark.postgres
async def test_of_two_that_redeem_a_token_at_once_one_joins(node: Callable[[], Directory]) -> None:
    nodes = [node() for _ in range(3)]
    await found(nodes[0])
    offices = [Office(directory) for directory in nodes]
    for round in range(5):
        token = await offices[0].invite(f"n{round}")
        work = [office.redeem(token, bytes([n]) * 32) for n, office in enumerate(offices)]
        results = await asyncio.gather(*work, return_exceptions=True)
        causes = [result.cause for result in results if isinstance(result, RookeryError)]
        assert causes == [Cause.DENIED] * 2
    members = await offices[1].members.members()
    assert len(members) == 5


@pytest.mark.postgres
async def test_every_directory_node_hears_of_a_revocation(node: Callable[[], Directory]) -> None:
    here, there = node(), node()
    await found(there)
    await Office(there).join("n")
    await here.catch_up()
    told = asyncio.Event()
    here.watch(told.set)
    await Members(there).revoke("n")
    async with asyncio.timeout(20):
        await told.wait()
    assert (await Members(here).revoked()).names == {"n"}


# --- where they are ---------------------------------------------------------------------------------------------------


async def test_a_member_says_where_its_processes_are(directory: Directory) -> None:
    await found(directory)
    office = Office(directory)
    await office.join("n")
    members = office.members
    first, second = (Presence("n", name, f"127.0.5.{number}:7143", "0.1.0") for number, name in enumerate(("a", "b")))
    for one in (first, second):
        await members.say_present(one, ["a", "b"])
    assert await members.presences() == [first, second]
    before = (await members.revoked()).number
    await members.say_present(first, ["a", "b"])  # nothing new
    assert (await members.revoked()).number == before
    elsewhere = msgspec.structs.replace(second, address="127.0.5.9:7143", release="0.2.0")
    await members.say_present(elsewhere, ["b"])  # has no `a` any more
    assert await members.presences() == [elsewhere]


async def test_whoever_is_no_member_is_nowhere(directory: Directory) -> None:
    await found(directory)
    office = Office(directory)
    await office.join("n")
    said = Presence("n", "", "127.0.5.1:7143", "0.1.0")
    await office.members.say_present(said, [])
    await office.members.revoke("n")
    assert await office.members.presences() == []
    for name in ("n", "stranger"):
        with pytest.raises(RookeryError) as told:
            await office.members.say_present(msgspec.structs.replace(said, name=name), [])
        assert told.value.cause is Cause.DENIED


# --- the release before -----------------------------------------------------------------------------------------------


async def test_a_directory_without_members_goes_on_beside_the_former_release(tmp_path: Path, hasher: Hasher) -> None:
    path, clock = tmp_path / "d.db", ManualClock()
    with SqliteDatabase(path, MIGRATIONS[:3]) as former:
        ensure_site(former, clock, system_random, 64)
    directory = open_directory(path, clock=clock, gate=Gate(), hasher=hasher)
    try:
        await found(directory)
        await Office(directory).join("n")
        domain = "INSERT INTO domain (domain, name, created) VALUES (?, ?, 0)"
        with SqliteDatabase(path, MIGRATIONS[:3]) as former, former.write() as tx:
            tx.run(domain, 11, "old.test")
            tx.run("INSERT INTO domain_name (name, domain) VALUES ('old.test', 11)")
        assert [found.name for found in directory.domains()] == ["old.test"]
        assert [member.name for member in await Members(directory).members()] == ["n"]
    finally:
        await directory.close()
