"""A node in its cluster: what its processes share, whom it lets in, and what it remembers over a restart."""

from dataclasses import replace

import pytest

from rookery.base.config import Config
from rookery.base.config.tree import Share
from rookery.base.errors import RookeryError
from rookery.base.members import Role
from rookery.distribution.auth.hasher import Hasher
from rookery.distribution.cluster.certificates import der
from rookery.distribution.directory.members import Members
from rookery.distribution.directory.settings import DirectorySettings
from rookery.distribution.directory.values import Revoked
from rookery.management import membership as module
from rookery.management.keeping import open_accounts
from rookery.management.membership import Membership
from rookery.management.site import Site
from rookery.storage.gate import Gate
from tests.cluster.world import World
from tests.net.turns import until


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK", 0.0)


async def test_what_another_process_renewed_is_used(world: World, looks: None) -> None:
    membership = Membership(Site(world.folder / "first"), Config(), world.clock)
    before, context = membership.member.serial, membership.contexts.client
    membership.take_up()
    await world.renew("first")
    await until(lambda: membership.member.serial != before)
    await until(lambda: membership.links._context is membership.contexts.client)  # for links dialled from now on
    assert membership.contexts.client is not context
    await membership.close()


async def test_who_was_revoked_stays_out_after_a_restart_while_nobody_can_be_asked(world: World) -> None:
    thief, honest = (await world.add("f1")).state.member, (await world.add("f2")).state.member
    await world.add("b1", Role.BACKEND)
    site = Site(world.folder / "b1")
    before = Membership(site, Config(), world.clock)
    assert before._admits(thief)
    await Members(world.directory).revoke("f1")
    await before.take(await Members(world.directory).revoked())
    await before.close()
    after = Membership(site, Config(), world.clock)
    assert not after._admits(thief)
    assert after._admits(honest)
    await after.close()


async def test_a_directory_that_was_restored_revokes_too_and_takes_nothing_back(world: World) -> None:
    membership = Membership(Site(world.folder / "first"), Config(), world.clock)
    await membership.take(Revoked(50, frozenset({"f1"}), frozenset({b"1" * 16})))
    await membership.take(Revoked(7, frozenset({"f2"}), frozenset()))
    assert membership.revoked == Revoked(49, frozenset({"f1", "f2"}), frozenset({b"1" * 16}))  # 50 is to be told again
    await membership.take(Revoked(51, frozenset({"f2"}), frozenset({b"1" * 16})))  # f1 was added again
    assert membership.revoked.names == {"f2"}
    await membership.close()


async def test_a_certificate_counts_until_its_end(world: World) -> None:
    await world.add("b1", Role.BACKEND)
    membership = Membership(Site(world.folder / "b1"), Config(), world.clock)
    member = (await world.add("f1")).state.member
    shown = der(world.contexts("f1").state.certificate)
    assert membership._admits(member)
    assert membership._member_of(shown) == member
    world.clock.advance(member.ends - world.clock.wall())
    assert not membership._admits(member)
    with pytest.raises(RookeryError, match="the certificate of f1 has ended"):
        membership._member_of(shown)
    await membership.close()


async def test_nobody_is_a_member_after_the_end_of_the_authority(world: World) -> None:
    membership = Membership(Site(world.folder / "first"), Config(), world.clock)
    world.clock.advance(membership.contexts.state.trust_ends - world.clock.wall())
    with pytest.raises(RookeryError, match="authority has ended"):
        membership._member_of(der(membership.contexts.state.certificate))
    await membership.close()


@pytest.mark.parametrize(
    ("roles", "share", "store"),
    [
        ((Role.BACKEND, Role.DIRECTORY), Share.ALL, ""),
        ((Role.BACKEND, Role.DIRECTORY), Share.POOL, "own"),
        ((Role.BACKEND,), Share.ALL, "own"),  # it may not have all
    ],
)
async def test_a_copy_asks_for_what_its_node_may_have(
    world: World, roles: tuple[Role, ...], share: Share, store: str
) -> None:
    await world.add("b1", *roles)
    config = replace(Config(), directory=replace(Config().directory, replica=True, share=share))
    hasher = Hasher(1)
    settings = DirectorySettings()
    site = Site(world.folder / "b1")
    directory = open_accounts(
        site, config, clock=world.clock, gate=Gate(), hasher=hasher, settings=settings, store="own"
    )
    assert directory.copies.replica is not None
    assert directory.copies.replica._store == store
    await directory.close()
    hasher.close()
