"""A node joins with its token, renews its certificate, and comes back after an absence; over real TLS."""

import stat
from pathlib import Path

import pytest

from rookery.base.clock import ManualClock
from rookery.base.errors import Cause, RookeryError
from rookery.base.members import Keeps, Role
from rookery.distribution.cluster import tokens
from rookery.distribution.cluster.admission import Admission
from rookery.distribution.cluster.authority import LIFETIME
from rookery.distribution.cluster.certificates import SKEW, der, member_of
from rookery.distribution.cluster.files import ClusterFiles
from rookery.distribution.cluster.joining import Renewal, come_back, join
from rookery.distribution.cluster.registrar import Registrar
from rookery.distribution.directory.members import Members
from rookery.distribution.directory.values import Standing
from rookery.management.membership import heard, told
from tests.cluster.world import FIRST, World


async def refused(cause: Cause, act: object) -> str:
    with pytest.raises(RookeryError) as caught:
        await act  # type: ignore[misc]
    assert caught.value.cause is cause
    return caught.value.what


async def test_a_node_joins_and_everybody_knows_it(world: World, clock: ManualClock) -> None:
    joined = await world.add("b1", Role.BACKEND, Role.MX_OUT)
    first = world.first
    b1, seen = world.meet(first, joined)
    assert (b1.name, b1.roles) == ("b1", {Role.BACKEND, Role.MX_OUT})
    assert (seen.name, seen.roles) == ("first", {Role.AUTHORITY, Role.DIRECTORY})
    assert b1.ends == int(clock.wall()) + LIFETIME
    assert world.meet(joined, first) == (seen, b1)
    assert {member.name for member in await Members(world.directory).members()} == {"first", "b1"}


async def test_nobody_but_the_owner_reads_a_key(world: World) -> None:
    await world.add("b1")
    for name, kept in (
        ("first", {"authority.key", "node.pem", "authorities.pem"}),
        ("b1", {"node.pem", "authorities.pem", "known.json"}),
    ):
        folder = world.node(name).folder
        assert {path.name for path in folder.iterdir()} == kept
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}


async def test_a_token_that_was_typed_joins_too(world: World) -> None:
    token = await world.registrar.invite("n", [Role.FRONTEND], ["first.test"], 1)
    text = token.text()
    typed = tokens.parse("\n".join([text[:60], f"  {text[60:].upper()} "]))
    assert typed == token
    assert (await join(typed, world.node("n"), world.ask)).name == "n"


async def test_a_token_works_once_also_over_the_wire(world: World) -> None:
    token = await world.registrar.invite("n", [Role.DIRECTORY], [FIRST], 1)
    await join(token, world.node("n"), world.ask)
    assert "has been used" in await refused(Cause.DENIED, join(token, world.node("thief"), world.ask))
    assert "remove that folder" in await refused(Cause.EXISTS, join(token, world.node("n"), world.ask))
    assert world.node("thief").state() is None


async def test_a_token_for_another_kind_of_node_is_refused_and_not_used(world: World) -> None:
    token = await world.registrar.invite("n", [Role.BACKEND, Role.DIRECTORY], [FIRST], 1)
    said = await refused(Cause.DENIED, join(token, world.node("n"), world.ask, Keeps.NOTHING))
    assert "a node that keeps mail (backend directory)" in said
    assert (await join(token, world.node("n"), world.ask, Keeps.MAIL)).name == "n"
    assert world.node("n").known().join == (FIRST,)


async def test_an_expired_token_is_refused(world: World, clock: ManualClock) -> None:
    token = await world.registrar.invite("n", [Role.FRONTEND], [FIRST], 1)
    clock.advance(tokens.LIFETIME)
    assert "has expired" in await refused(Cause.DENIED, join(token, world.node("n"), world.ask))


async def test_an_answer_that_was_lost_is_given_again(world: World) -> None:
    token = await world.registrar.invite("n", [Role.FRONTEND], [FIRST], 1)
    lost: list[bytes] = []

    async def lose(question: bytes) -> bytes:
        answer = await world.registrar.answer(question)
        if lost:
            raise ConnectionResetError
        lost.append(answer)
        return answer

    world.listen(FIRST, world.first.desk, lose)
    await refused(Cause.UNAVAILABLE, join(token, world.node("n"), world.ask))
    assert [invited.used for invited in await Members(world.directory).invitations() if invited.name == "n"] == [True]
    world.listen(FIRST, world.first.desk)
    assert (await join(token, world.node("n"), world.ask)).name == "n"
    assert not (world.node("n").folder / "joining.key").exists()


async def test_the_next_address_is_asked_when_one_is_away(world: World) -> None:
    token = await world.registrar.invite("n", [Role.FRONTEND], ["away.test:9", "first.test"], 1)
    await join(token, world.node("n"), world.ask)
    token = await world.registrar.invite("m", [Role.FRONTEND], ["away.test:9"], 1)
    said = await refused(Cause.UNAVAILABLE, join(token, world.node("m"), world.ask))
    assert said == "the authority at away.test:9 cannot be reached: Connection refused"


async def test_what_may_not_be_invited(world: World) -> None:
    registrar = world.registrar
    for name in ("", "a/b", "role/admin", "x" * 64, "über"):
        await refused(Cause.INVALID, registrar.invite(name, [Role.FRONTEND], [FIRST], 1))
    await refused(Cause.INVALID, registrar.invite("n", [], [FIRST], 1))
    await refused(Cause.INVALID, registrar.invite("n", [Role.FRONTEND], ["not an address"], 1))
    await refused(Cause.TOO_MANY, registrar.invite("n", [Role.FRONTEND], [], 1))
    for lifetime in (0, tokens.LIFETIME_MOST + 1):
        await refused(Cause.INVALID, registrar.invite("n", [Role.FRONTEND], [FIRST], 1, lifetime=lifetime))
    with pytest.raises(RookeryError):
        Registrar(world.directory, world.files, lifetime=60)


# --- renewal ----------------------------------------------------------------------------------------------------------


async def test_a_certificate_is_renewed_at_half_its_life_and_taken_up_at_once(world: World, clock: ManualClock) -> None:
    b1, other = await world.add("b1"), await world.add("b2")
    listener, old = b1.server, b1.state
    assert abs(old.half - (clock.wall() + LIFETIME / 2)) <= SKEW
    clock.advance(60)
    await world.renew("b1")
    assert world.meet(b1, other)[1] == old.member  # not read yet
    b1.reload()
    assert b1.server is listener
    now = b1.state
    assert world.meet(b1, other) == (other.state.member, now.member)
    assert world.meet(other, b1)[0] == now.member
    assert (now.member.name, now.member.ends) == ("b1", old.member.ends + 60)
    assert now.member.serial != old.member.serial
    assert now.key.public_key() != old.key.public_key()


async def test_an_ended_certificate_is_not_renewed_over_an_old_link(world: World, clock: ManualClock) -> None:
    await world.add("b1")
    clock.advance(LIFETIME + SKEW - 1)
    await world.renew("b1")
    clock.advance(LIFETIME + SKEW)
    assert "come back with its key" in await refused(Cause.DENIED, world.renew("b1"))


async def test_a_renewed_certificate_of_somebody_else_is_not_taken(world: World) -> None:
    await world.add("b1")
    await world.add("b2")
    files, others = world.node("b1"), world.node("b2")
    state, other = files.state(), others.state()
    assert state
    assert other
    renewal, theirs = Renewal(files, state), Renewal(others, other)
    issued = await world.registrar.renew(other.member, theirs.request)
    assert "another key" in await refused(Cause.DENIED, renewal.accept(issued))
    issued = await world.registrar.renew(other.member, renewal.request)
    assert "of b2, not of b1" in await refused(Cause.DENIED, renewal.accept(issued))
    assert files.state().member == state.member  # type: ignore[union-attr]


async def test_a_revoked_node_gets_no_other_certificate_and_nobody_admits_it(world: World) -> None:
    b1 = await world.add("b1")
    members, admission = Members(world.directory), Admission()
    assert not admission.take(await members.revoked())
    assert admission.admits(b1.state.member)
    old = await members.revoked()
    await members.revoke("b1")
    await refused(Cause.DENIED, world.renew("b1"))
    await refused(Cause.DENIED, come_back(world.node("b1"), (FIRST,), world.ask))
    newest = await members.revoked()
    assert admission.take(newest)
    assert not admission.admits(b1.state.member)
    assert admission.admits(world.first.state.member)
    assert not admission.take(old)  # it comes late
    assert not admission.take(newest)
    assert not admission.admits(b1.state.member)
    token = await world.registrar.invite("b1", [Role.FRONTEND], [FIRST], 1)
    again = ClusterFiles(world.folder / "new machine")
    member = await join(token, again, world.ask)
    admission.take(await members.revoked())
    assert admission.admits(member)
    assert not admission.admits(b1.state.member)


async def test_a_copy_that_is_behind_keeps_nobody_out_for_long(world: World) -> None:
    """It still says that a node is revoked which has joined again since."""
    await world.add("b1")
    members, admission = Members(world.directory), Admission()
    await members.revoke("b1")
    behind = await members.revoked()
    token = await world.registrar.invite("b1", [Role.FRONTEND], [FIRST], 1)
    member = await join(token, ClusterFiles(world.folder / "new machine"), world.ask)

    async def ask(tells: Standing) -> None:
        """As a node asks: who has the same list does not repeat it."""
        known = admission.revoked
        admission.take(heard(told(tells, known.number), known).revoked)

    newest = await members.standing()
    await ask(newest)
    await ask(Standing(behind, b""))
    assert not admission.admits(member)
    await ask(newest)
    assert admission.admits(member)
    assert admission.number == newest.revoked.number


async def test_a_node_that_was_away_for_long_comes_back(world: World, clock: ManualClock) -> None:
    clock.advance(-3 * LIFETIME)
    await world.add_by_hand("b1")
    clock.advance(3 * LIFETIME)
    ended = world.contexts("b1")
    with pytest.raises(RookeryError, match="the certificate of b1 has ended"):
        member_of(der(ended.state.certificate), world.cluster, clock.wall())
    assert (await come_back(world.node("b1"), ("away.test:1", FIRST), world.ask)).name == "b1"
    ended.reload()
    assert world.meet(world.first, ended)[0].name == "b1"


async def test_who_has_not_joined_cannot_come_back(world: World, tmp_path: Path) -> None:
    await refused(Cause.NOT_FOUND, come_back(ClusterFiles(tmp_path / "none"), (FIRST,), world.ask))


# --- the registrar ----------------------------------------------------------------------------------------------------


async def test_a_cluster_is_founded_once_and_the_key_stays_where_it_is(world: World, tmp_path: Path) -> None:
    await refused(Cause.EXISTS, world.registrar.found())
    elsewhere = Registrar(world.directory, ClusterFiles(tmp_path / "elsewhere"))
    assert "not on this node" in await refused(Cause.UNSUPPORTED, elsewhere.invite("n", [Role.FRONTEND], [FIRST], 1))


@pytest.mark.parametrize("question", [b"", b"\xc1", b"x" * 20_000, b"\x81\xa4type\xa4none", bytes(100)])
async def test_what_is_no_question_is_answered_so(world: World, question: bytes) -> None:
    assert b"refused" in await world.registrar.answer(question)
