"""Another copy is promoted: it counts everywhere, and the primary before takes nothing any more."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from rookery.base.clock import ManualClock
from rookery.base.errors import Cause, RookeryError
from rookery.base.members import Member, Role
from rookery.distribution.auth.hasher import Hasher
from rookery.distribution.directory.administration import Administration
from rookery.distribution.directory.directory import Directory
from rookery.distribution.directory.values import Plain
from rookery.distribution.service.calls import AskStanding, CopyOf, Question, Standing
from tests.directory.replicas import ROLES, Nodes, contents, ready

PASSWORD = Plain("correct horse battery")


@pytest.fixture
async def nodes(directory: Directory, tmp_path: Path, clock: ManualClock, hasher: Hasher) -> AsyncIterator[Nodes]:
    """`directory` is the primary, called p; r and q ask all."""
    nodes = Nodes(tmp_path, clock, hasher)
    nodes.add("p", directory)
    await Administration(directory).add_domain("d.test")
    for name in ("r", "q"):
        await nodes.replica(name, "p", "r", "q")
    yield nodes
    for name in list(nodes.directories):
        if name != "p":
            await nodes.close(name)


async def promote(directory: Directory) -> None:
    await directory.copies.promote(directory.random, directory.now())


async def test_the_promoted_copy_is_the_primary_of_the_others(directory: Directory, nodes: Nodes) -> None:
    r, q = nodes.directories["r"], nodes.directories["q"]
    nodes.cut.add("p")
    await promote(r)
    assert r.copies.standing(r.last_change()).state == "primary"
    await Administration(r).add_account("a@d.test", PASSWORD)
    await Administration(q).add_account("b@d.test")
    await q.catch_up()
    assert contents(q) == contents(r)
    assert q.copies.generation == r.copies.generation > directory.copies.generation
    assert (q.account("b@d.test") or pytest.fail("b")).version > 65_000  # numbers that were lost are not used again


async def test_the_one_before_is_fenced_by_a_word(directory: Directory, nodes: Nodes) -> None:
    r = nodes.directories["r"]
    nodes.cut.add("p")
    await promote(r)
    nodes.cut.clear()
    caller = nodes.primary(Member("r", ROLES, bytes(16), 1 << 40), "p")
    found = await caller.ask(AskStanding(r.copies.generation), Standing)
    assert (found.state, found.generation) == ("fenced", directory.copies.generation)
    with pytest.raises(RookeryError) as caught:
        await Administration(directory).add_account("c@d.test")
    assert caught.value.cause is Cause.UNAVAILABLE
    assert "promoted" in caught.value.what
    await Administration(nodes.directories["q"]).add_account("c@d.test")
    assert r.account("c@d.test")


async def test_only_nodes_with_the_directory_put_an_end_to_acts(directory: Directory, nodes: Nodes) -> None:
    backend = Member("b", frozenset({Role.BACKEND}), bytes(16), 1 << 40)
    higher = nodes.directories["r"].copies.generation
    forged = type(higher)(higher.number + 5, b"x", 0)
    found = await nodes.primary(backend, "p").ask(AskStanding(forged), Standing)
    assert found.state == "primary"


async def test_who_has_more_than_the_promoted_one_copies_anew(directory: Directory, nodes: Nodes) -> None:
    r, q = nodes.directories["r"], nodes.directories["q"]
    nodes.cut.add("r")
    await Administration(directory).add_account("lost@d.test")
    await q.catch_up()
    nodes.cut = {"p"}
    asked: list[Question] = []
    nodes.before = asked.append
    await promote(r)
    await Administration(r).add_account("new@d.test")
    await ready(q)
    assert contents(q) == contents(r)
    assert q.account("lost@d.test") is None
    assert any(isinstance(question, CopyOf) for question in asked)


async def test_the_one_before_becomes_a_copy(directory: Directory, nodes: Nodes) -> None:
    r = nodes.directories["r"]
    nodes.cut.add("r")
    await Administration(directory).add_account("lost@d.test")
    await promote(r)
    await Administration(r).add_account("new@d.test")
    nodes.cut.clear()
    directory.copies.hear(r.copies.generation)
    if directory.copies.make is None:
        with pytest.raises(RookeryError) as caught:
            await directory.copies.step_back()
        assert caught.value.cause is Cause.UNSUPPORTED
        return
    await directory.copies.step_back()
    nodes.start("p", "q", "r")
    async with asyncio.timeout(30):
        await directory.copies.replica.ready()  # type: ignore[union-attr]
    await directory.catch_up()
    assert contents(directory) == contents(r)
    await Administration(directory).add_account("through@d.test")
    assert r.account("through@d.test")


async def test_a_primary_that_nothing_replaced_goes_on(directory: Directory, nodes: Nodes) -> None:
    directory.copies.hear(directory.copies.generation)
    await Administration(directory).add_account("a@d.test")
    with pytest.raises(RookeryError) as caught:
        await promote(directory)
    assert caught.value.cause is Cause.CONFLICT


async def test_what_a_promoted_copy_is_outlives_a_restart(nodes: Nodes) -> None:
    nodes.cut.add("p")
    r = nodes.directories["r"]
    await promote(r)
    generation = r.copies.generation
    await nodes.close("r")
    r = nodes.open("r")
    assert r.copies.replica is None
    assert r.copies.generation == generation
    await Administration(r).add_account("a@d.test")
