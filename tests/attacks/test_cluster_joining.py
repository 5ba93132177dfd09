"""Somebody between, beside or inside the cluster tries to get in, or to get at a join token."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from rookery.base.clock import ManualClock
from rookery.base.errors import Cause, RookeryError
from rookery.base.members import Role
from rookery.distribution.cluster import authority as au
from rookery.distribution.cluster import messages
from rookery.distribution.cluster.certificates import der, make_request, member_of, new_key, new_serial
from rookery.distribution.cluster.contexts import Contexts
from rookery.distribution.cluster.files import ClusterFiles
from rookery.distribution.cluster.joining import come_back, join
from rookery.distribution.cluster.messages import Authorities, ComeBack, Issued, Join
from rookery.distribution.cluster.tokens import Token
from rookery.distribution.directory.members import Members
from tests.cluster import conftest as cluster
from tests.cluster.world import FIRST, World

clock, hasher, directory, world = cluster.clock, cluster.hasher, cluster.directory, cluster.world


@pytest.fixture
async def token(world: World) -> Token:
    return await world.registrar.invite("n", [Role.DIRECTORY], [FIRST], 1)


async def denied(act: Awaitable[object]) -> str:
    with pytest.raises(RookeryError) as caught:
        await act
    assert caught.value.cause is Cause.DENIED
    return caught.value.what


class Listener:
    """Answers in place of the authority, and keeps what it hears. `change` spoils the authority's honest answers."""

    def __init__(self, world: World, change: Callable[[bytes], bytes] = lambda answer: answer) -> None:
        self.world = world
        self.change = change
        self.heard: list[messages.Question] = []

    async def __call__(self, question: bytes) -> bytes:
        self.heard.append(messages.read_question(question))
        return self.change(await self.world.registrar.answer(question))

    @property
    def secrets(self) -> list[bytes]:
        return [heard.secret for heard in self.heard if isinstance(heard, Join)]


def stranger(folder: Path, cluster: str, now: int) -> tuple[au.Authority, Contexts]:
    """An authority with the same cluster id and a key of its own, and a node `first` of it."""
    made, key, files = au.create(cluster, now), new_key(), ClusterFiles(folder)
    certificate = made.issue(key.public_key(), "first", ["authority"], new_serial(bytes(16)), now)
    files.write_state(key, certificate, (), au.Bundle((der(made.certificate),)))
    return made, Contexts(files)


async def test_another_authority_does_not_get_the_secret(
    world: World, token: Token, clock: ManualClock, tmp_path: Path
) -> None:
    evil, contexts = stranger(tmp_path / "evil", world.cluster, int(clock.wall()))
    honest = Listener(world)  # it passes on what the true authority says of itself
    world.listen(FIRST, contexts.desk, honest)
    assert "does not trust" in await denied(join(token, world.node("n"), world.ask))
    own = messages.encode(Authorities(au.Bundle((der(evil.certificate),))))
    liar = Listener(world, lambda answer: own)
    world.listen(FIRST, contexts.desk, liar)
    assert "not the authority that made the join token" in await denied(join(token, world.node("n"), world.ask))
    assert honest.secrets == liar.secrets == []
    world.listen(FIRST, world.first.desk)
    await join(token, world.node("n"), world.ask)


async def test_another_node_of_the_cluster_does_not_get_the_secret(world: World, token: Token) -> None:
    frontend = await world.add("f1", *(set(Role) - {Role.AUTHORITY}))
    thief = Listener(world)
    world.listen(FIRST, frontend.desk, thief)
    assert "f1 answered, which has not the role" in await denied(join(token, world.node("n"), world.ask))
    assert thief.secrets == []
    assert len(thief.heard) == 1


async def test_a_node_that_comes_back_is_not_misled(world: World, clock: ManualClock, tmp_path: Path) -> None:
    _, contexts = stranger(tmp_path / "evil", world.cluster, int(clock.wall()))
    frontend = await world.add("f1")
    for listening in (contexts, frontend):
        world.listen(FIRST, listening.desk, listener := Listener(world))
        await denied(come_back(world.node("first"), (FIRST,), world.ask))
        assert listener.heard == []


async def test_what_the_authority_answers_is_checked_all_the_same(
    world: World, token: Token, clock: ManualClock, tmp_path: Path
) -> None:
    """Its host has been broken into, but its key is elsewhere."""
    evil, _ = stranger(tmp_path / "evil", world.cluster, int(clock.wall()))

    def with_root(answer: bytes) -> bytes:
        read = messages.read_answer(answer)
        if not isinstance(read, Issued):
            return answer
        roots = (*read.bundle.roots, der(evil.certificate))
        return messages.encode(Issued(read.certificate, read.chain, au.Bundle(roots, read.bundle.crosses)))

    def signed_by_evil(answer: bytes) -> bytes:
        read = messages.read_answer(answer)
        if not isinstance(read, Issued):
            return answer
        key = world.node("n").joining_key().public_key()
        made = evil.issue(key, "n", ["admin"], new_serial(bytes(16)), int(clock.wall()))
        return messages.encode(Issued(made, (), read.bundle))

    for change, said in ((with_root, "vouches"), (signed_by_evil, "none of its own has signed")):
        world.listen(FIRST, world.first.desk, Listener(world, change))
        assert said in await denied(join(token, world.node("n"), world.ask))
        assert world.node("n").state() is None


async def test_roles_and_names_are_not_had_by_asking(world: World) -> None:
    token = await world.registrar.invite("f1", [Role.FRONTEND], [FIRST], 1)
    key = new_key()
    for name in ("first", "f1", "stranger"):
        question = messages.encode(ComeBack(name, make_request(key)))
        with pytest.raises(RookeryError, match="gets no certificate") as caught:
            messages.read_answer(await world.registrar.answer(question))
        assert caught.value.cause is Cause.DENIED
    answer = await world.registrar.answer(messages.encode(Join(token.id, token.secret, make_request(key))))
    issued = messages.read_answer(answer)
    assert isinstance(issued, Issued)
    member = member_of(issued.certificate, world.cluster)
    assert (member.name, member.roles) == ("f1", {Role.FRONTEND})
    again = messages.encode(ComeBack("first", make_request(key)))
    with pytest.raises(RookeryError, match="gets no certificate"):
        messages.read_answer(await world.registrar.answer(again))


async def test_guesses_do_not_spend_the_token(world: World, token: Token) -> None:
    for secret in (b"", b"x" * 32, token.secret[:31], token.secret + b"\0", token.hash):
        await denied(world.registrar.redeem(token.id, secret, make_request(new_key())))
    await denied(world.registrar.redeem(b"", token.secret, make_request(new_key())))
    with pytest.raises(RookeryError):
        await world.registrar.redeem(token.id, token.secret, b"no request")
    await join(token, world.node("n"), world.ask)


async def test_no_secret_is_kept_or_said(world: World, token: Token, capfd: pytest.CaptureFixture[str]) -> None:
    await join(token, world.node("n"), world.ask)
    said = await denied(join(token, world.node("thief"), world.ask))
    question = Join(token.id, token.secret, b"")
    shown = f"{token} {question} {world.registrar} {world.files.authority()} {world.files.state()} {said}"
    captured = capfd.readouterr()
    text = token.text().partition(":")[2]
    for place in (shown, captured.out, captured.err):
        assert text not in place
        assert repr(token.secret)[2:-1] not in place
        assert token.secret.hex() not in place
    await Members(world.directory).members()
    kept = b"".join(path.read_bytes() for path in world.folder.glob("directory.db*"))
    assert token.hash in kept
    assert token.secret not in kept
