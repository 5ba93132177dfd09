"""The directory of this node and its copies on others: which of them counts, and how far behind they are."""

from typing import TYPE_CHECKING

import msgspec

from rookery.base.errors import Cause, RookeryError
from rookery.base.members import Role
from rookery.management.operations.registry import operation

if TYPE_CHECKING:
    from rookery.management.parts import Parts
    from rookery.management.replication import Replication


class Other(msgspec.Struct, frozen=True):
    """The directory of another node. `state` "": it did not answer, and `what` says why."""

    address: str
    node: str
    state: str
    generation: int
    changes: int
    what: str = ""


class LostAct(msgspec.Struct, frozen=True):
    """A change that the directory which counts does not have. `at`: seconds UTC."""

    number: int
    kind: str
    object: str
    verb: str
    at: int


class DirectoryView(msgspec.Struct, frozen=True):
    """`state`: primary, replica, or fenced: another counts in its place. `changes`: the number of the last. Of a
    replica `behind`: changes of which it has heard and that it has not; `last_word`: seconds since the primary
    answered, None: not since the start; `whole`: with the credentials of all accounts. `lost`: of a fenced one.
    `aside`: the file that keeps what it was."""

    state: str
    generation: int
    changes: int
    behind: int = 0
    last_word: float | None = None
    whole: bool = True
    others: list[Other] = []
    lost: list[LostAct] = []
    aside: str = ""


async def _view(parts: "Parts") -> DirectoryView:
    copies, replication = parts.directory.copies, parts.replication
    others = [] if replication is None else await _others(replication)
    last = await parts.directory.find(lambda directory: directory.last_change())
    found, replica = copies.standing(last), copies.replica
    return DirectoryView(
        found.state,
        found.generation.number,
        last,
        0 if replica is None else replica.behind,
        None if replica is None else replica.last_word,
        replica is None or replica.state.whole,
        others,
        [] if replication is None else await _lost(replication),
    )


async def _others(replication: "Replication") -> list[Other]:
    return [
        Other(one.address, one.node, "", 0, 0, one.what)
        if one.standing is None
        else Other(one.address, one.node, one.standing.state, one.standing.generation.number, one.standing.last)
        for one in await replication.look()
    ]


async def _lost(replication: "Replication") -> list[LostAct]:
    return [
        LostAct(one.number, one.kind.name.lower(), one.object, one.verb.name.lower(), one.at)
        for one in await replication.lost()
    ]


def _running(parts: "Parts") -> "Replication":
    if parts.replication is None:
        raise RookeryError(Cause.NOT_FOUND, "this node is in no cluster")
    return parts.replication


@operation("directory.status")
async def show_directory(parts: "Parts") -> DirectoryView:
    """A running node asks the others."""
    return await _view(parts)


@operation("directory.promote", running=True)
async def promote_directory(parts: "Parts", force: bool = False) -> DirectoryView:
    """Make the copy of this node the primary; returns how it was. `force`: also while the primary answers.

    Raises CONFLICT: it is no whole copy, or the primary answers.
    """
    replication, copies = _running(parts), parts.directory.copies
    before = await _view(parts)
    member = None if parts.running is None else parts.running.member()
    if member is not None and Role.DIRECTORY not in member.roles:
        raise RookeryError(
            Cause.CONFLICT, f"{member.node} has not the role directory, so that no other node would ask it"
        )
    living = [one for one in before.others if one.state == "primary" and one.generation >= before.generation]
    if living and not force:
        raise RookeryError(
            Cause.CONFLICT,
            f"the primary answers: {living[0].node} at {living[0].address}. Stop it first, or give --force: then it"
            " takes no acts any more as soon as it hears of this",
        )
    await copies.promote(parts.directory.random, parts.directory.now())
    await replication.look()
    return before


@operation("directory.follow", running=True)
async def follow_directory(parts: "Parts") -> DirectoryView:
    """Make the directory of this node, which was the primary until another was promoted, a copy of that; returns how it
    was, with what is lost. Raises CONFLICT."""
    replication = _running(parts)
    before = await _view(parts)
    aside = str(replication.aside)
    await replication.follow()
    return msgspec.structs.replace(before, aside=aside)
