"""The cluster's key is changed while nodes go on meeting each other, with real handshakes at each step."""

import itertools
import ssl
from pathlib import Path

import pytest

from rookery.base.clock import ManualClock
from rookery.base.errors import Cause, RookeryError
from rookery.base.members import Role
from rookery.distribution.cluster import authority as au
from rookery.distribution.cluster.certificates import SKEW, der
from rookery.distribution.cluster.contexts import Contexts
from rookery.distribution.cluster.files import ClusterFiles
from rookery.distribution.cluster.joining import come_back, join
from rookery.distribution.cluster.registrar import Registrar
from rookery.distribution.directory import acts
from rookery.distribution.directory import rules_members as rm
from rookery.distribution.directory.members import Members
from rookery.distribution.directory.values import AuthorityRecord
from tests.cluster.world import FIRST, World, shake


def all_meet(world: World, *nodes: Contexts) -> None:
    """Every two of them, either way."""
    for server, client in itertools.permutations(nodes, 2):
        assert world.meet(server, client) == (client.state.member, server.state.member)


async def test_a_roll_over_without_an_outage(world: World, clock: ManualClock) -> None:
    first = world.first
    old, away = await world.add("old"), await world.add("away")
    token = await world.registrar.invite("late", [Role.FRONTEND], [FIRST], 1)
    former = world.files.authority()
    assert former
    all_meet(world, first, old, away)

    await world.registrar.roll()
    signing = world.files.authority()
    assert signing
    assert signing.id != former.id
    all_meet(world, first, old, away)

    # The new key signs at once; nodes that have not heard of it meet those that trust both, either way.
    new = await world.add("new")
    assert len(new.state.bundle.roots) == 2
    assert len(old.state.bundle.roots) == 1
    all_meet(world, first, old, away, new)
    assert (await join(token, world.node("late"), world.ask)).name == "late"  # it pins the old key
    late = world.contexts("late")
    all_meet(world, first, old, away, new, late)

    # Renewed one after the other, with listeners that go on listening, and the authority's own node in between.
    for name, node in (("old", old), ("first", first)):
        await world.renew(name)
        node.reload()
        assert len(node.state.bundle.roots) == 2
        all_meet(world, first, old, away, new, late)

    # Tokens that are made from now on are of use too, though the authority's node shows a certificate of the new key.
    last = await world.add("last")
    all_meet(world, first, old, away, new, late, last)

    # `away` has one of the old key: as long as it lasts, the old key is trusted.
    assert await world.registrar.retire() == 0
    with pytest.raises(RookeryError) as caught:
        await world.registrar.roll()
    assert caught.value.cause is Cause.CONFLICT
    clock.step(au.LIFETIME + SKEW)
    assert await world.registrar.retire() == 1
    clock.step(-au.LIFETIME - SKEW)  # for TLS no time has passed
    named = (("first", first), ("old", old), ("new", new), ("late", late))
    for name, node in named:
        await world.renew(name)
        node.reload()
        assert node.state.bundle.roots == (der(signing.certificate),)
        all_meet(world, first, old, new, late)

    with pytest.raises(ssl.SSLError, match="CERTIFICATE_VERIFY_FAILED"):
        shake(old.server, away.client)
    await come_back(world.node("away"), (FIRST,), world.ask)
    away.reload()
    all_meet(world, first, old, away, new, late)
    await world.registrar.roll()
    all_meet(world, first, old, away, new, late, await world.add("newest"))


async def test_the_old_key_is_gone_when_the_new_one_signs(world: World) -> None:
    former = world.files.authority()
    assert former
    await world.registrar.roll()
    held = b"".join(path.read_bytes() for path in world.files.folder.iterdir())
    assert former.to_pem()[:200] not in held
    assert held.count(b"BEGIN PRIVATE KEY") == 2  # the node's own, and the authority's


async def test_a_crash_between_the_key_and_the_directory_is_made_good(world: World) -> None:
    """Also a directory that was restored from a copy of before the roll-over."""
    old = await world.add("old")
    former = world.files.authority()
    assert former
    following = former.successor(int(world.clock.wall()))
    world.files.write_authority(following)
    new = await world.add("new")
    assert [one.id for one in await Members(world.directory).authorities()] == [former.id, following.id]
    all_meet(world, world.first, old, new)


async def test_a_node_with_an_older_key_signs_nothing(world: World, tmp_path: Path) -> None:
    second = ClusterFiles(tmp_path / "second")
    held = world.files.authority()
    assert held
    second.write_authority(held)
    other = Registrar(world.directory, second)
    await other.invite("a", [Role.FRONTEND], [FIRST], 1)  # two nodes may have the key
    await world.registrar.roll()
    for attempt in (other.invite("b", [Role.FRONTEND], [FIRST], 1), other.roll()):
        with pytest.raises(RookeryError, match=r"copy authority\.key") as caught:
            await attempt
        assert caught.value.cause is Cause.CONFLICT
    kept = second.authority()
    assert kept
    assert kept.id == held.id
    newest = world.files.authority()
    assert newest
    second.write_authority(newest)
    await other.invite("b", [Role.FRONTEND], [FIRST], 1)


async def test_a_directory_cannot_bring_in_an_authority_of_its_own(world: World) -> None:
    """Somebody writes a row into its database."""
    await world.add("b1")
    before = world.node("b1").state()
    assert before
    evil = au.create(world.cluster, int(world.clock.wall()))
    vouched = evil.successor(int(world.clock.wall()))
    record = AuthorityRecord(evil.id, der(evil.certificate), der(vouched.cross or evil.certificate), 0)
    known = await Members(world.directory).authorities()
    await world.directory.act(acts.ADD_AUTHORITY, rm.AddAuthority(record, known[-1].id, 0))
    offered = await world.registrar.bundle()
    assert len(offered.roots) == 2
    with pytest.raises(RookeryError, match="vouches") as caught:
        au.follow(before.bundle, offered, world.cluster)
    assert caught.value.cause is Cause.DENIED
    for crosses in ((), offered.crosses, (der(evil.certificate),), (der(before.certificate),)):
        with pytest.raises(RookeryError):
            au.follow(before.bundle, au.Bundle((der(evil.certificate),), crosses), world.cluster)


def test_what_else_is_not_followed(world: World) -> None:
    state = world.files.state()
    authority = world.files.authority()
    assert state
    assert authority
    now = int(world.clock.wall())
    other = au.Authority("cd" * 16, authority.key, authority.certificate).successor(now)
    for roots, crosses in (
        ((), ()),
        ((der(state.certificate),), ()),
        ((b"nonsense",), ()),
        ((der(other.certificate),), other.chain),
        (state.bundle.roots * 5, ()),
    ):
        with pytest.raises(RookeryError):
            au.follow(state.bundle, au.Bundle(roots, crosses), state.cluster)
    following = authority.successor(now)
    offered = au.Bundle((*state.bundle.roots, der(following.certificate)), following.chain)
    assert au.follow(state.bundle, offered, state.cluster).roots == offered.roots
    assert au.follow(state.bundle, state.bundle, state.cluster).roots == state.bundle.roots
