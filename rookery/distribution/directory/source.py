"""The primary as its replicas see it: what has changed, a copy page by page, and acts that they were asked to do."""

import asyncio
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

from rookery.base.errors import Cause, RookeryError
from rookery.base.log import logger
from rookery.base.members import Member, Role
from rookery.distribution.directory import acts, forwarding, objects, reads, standing
from rookery.distribution.directory.directory import Directory
from rookery.distribution.directory.objects import Images, Key, Served
from rookery.distribution.directory.rules_members import SayPresent
from rookery.distribution.directory.values import Change, Kind
from rookery.distribution.service.calls import (
    PAGE_LIMIT,
    Act,
    Acted,
    AskStanding,
    Copied,
    CopyOf,
    Follow,
    Followed,
    Generation,
    Standing,
    Table,
)
from rookery.distribution.service.questions import Questions
from rookery.net.cluster.member import permits
from rookery.storage.engine import Reader

CHANGES = 2_000  # of one answer
RECENT = 1_000  # changes that come with a copy
STEP, STEP_LARGE = 50, 2  # changes whose objects are read before their size is looked at; the same of expansions
OBJECTS = 200  # of one page, read before their size is looked at
WAIT = 2.0  # seconds for something to change

_KINDS = tuple(objects.TABLES)
# What concerns who belongs to the cluster needs a role of its own; all else any node may that may act at all.
_NEEDS = {
    **dict.fromkeys(("found-cluster", "add-authority", "drop-authorities", "invite"), "act-authority"),
    **dict.fromkeys(("redeem", "renew-certificate"), "act-authority"),
    **dict.fromkeys(("revoke-member", "forget-member"), "act-members"),
}

log = logger("directory")


class Source:
    """Of one process."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory

    def take(self, questions: Questions) -> None:
        questions.take(Follow, self._follow, "follow")
        questions.take(CopyOf, self._copy, "follow")
        questions.take(Act, self._act, "act")
        questions.take(AskStanding, self._standing, "follow")

    # --- following ---

    async def _follow(self, caller: Member, question: Follow) -> Followed:
        self._hear(caller, question.generation)
        self._directory.copies.need_primary()
        store = _store(caller, question.store)
        changed = asyncio.Event()
        unwatch = self._directory.watch(changed.set)
        try:
            found = await self._directory.apart(lambda reader: _since(reader, question, store))
            if found.changes or found.lost or not question.wait:
                return found
            try:
                async with asyncio.timeout(WAIT):
                    await changed.wait()
            except TimeoutError:
                return found
            return await self._directory.apart(lambda reader: _since(reader, question, store))
        finally:
            unwatch()

    async def _copy(self, caller: Member, question: CopyOf) -> Copied:
        self._directory.copies.need_primary()
        kind = _kind(question)
        store = _store(caller, question.store)
        return await self._directory.apart(lambda reader: _page(reader, kind, question.after, store))

    # --- acts ---

    async def _act(self, caller: Member, question: Act) -> Acted:
        self._directory.copies.need_primary()
        need = _NEEDS.get(question.name, "act")
        if not permits(caller.roles, need):
            log.warning("not-permitted", node=caller.name, act=question.name)
            raise RookeryError(Cause.DENIED, "the certificate of this node has no role that may do so")
        form = forwarding.form(question.name)
        argument = form.argument(question.argument)
        forwarding.check(argument, self._directory.now())
        if isinstance(argument, SayPresent) and argument.presence.name != caller.name:
            raise RookeryError(Cause.DENIED, "a node says only where it is itself")
        value: Any = await self._directory.act(acts.BY_NAME[question.name], argument)
        return Acted(await self._directory.apart(reads.last_change), forwarding.encode(value))

    # --- standing ---

    async def _standing(self, caller: Member, question: AskStanding) -> Standing:
        self._hear(caller, question.generation)
        return self._directory.copies.standing(await self._directory.apart(reads.last_change))

    def _hear(self, caller: Member, generation: Generation) -> None:
        if Role.DIRECTORY in caller.roles:  # others could put an end to all acts by a word
            self._directory.copies.hear(generation)


def _store(caller: Member, wanted: str) -> str | None:
    """The store whose accounts' credentials it gets; None: all, for nodes that keep the whole directory."""
    return None if not wanted and Role.DIRECTORY in caller.roles else wanted


def _share(reader: Reader, store: str | None) -> Served | None:
    return None if store is None else objects.served(reader, store)


def _tables(found: Images) -> list[Table]:
    return [Table(name, list(columns), rows) for name, (columns, rows) in found.items() if rows]


def _since(reader: Reader, question: Follow, store: str | None) -> Followed:
    generation, last = standing.generation(reader), reads.last_change(reader)
    if question.after > last or not question.mark or standing.mark(reader, question.after) != question.mark:
        return Followed(generation, last, lost=True)
    changes = list(reads.changes(reader, question.after, CHANGES))
    share, found, upto, octets = _share(reader, store), {}, 0, 0  # type: ignore[var-annotated]
    for start, end in pairwise(_steps(changes)):
        keys = objects.keys_of(changes[start:end])
        more = objects.images(reader, keys, share)
        objects.merge(found, keys, more)
        upto, octets = end, octets + objects.size(more)
        if octets > PAGE_LIMIT:
            break
    rows = [(one.number, one.kind.value, one.object, one.verb.value, one.at) for one in changes[:upto]]
    more_to_come = bool(rows) and rows[-1][0] < last
    return Followed(
        generation, last, rows, _tables(found), more_to_come, whole=store is None, site=standing.site(reader)
    )


def _steps(changes: list[Change]) -> Iterable[int]:
    """Where to look at the size: a group may have 10,000 members."""
    yield 0
    begun = large = 0
    for number, change in enumerate(changes, 1):
        large += change.kind is Kind.EXPANSION
        if number - begun >= STEP or large >= STEP_LARGE or number == len(changes):
            yield number
            begun, large = number, 0


def _kind(question: CopyOf) -> Kind:
    kind = next((kind for kind in _KINDS if kind.value == question.kind), None)
    keys = {Kind.DOMAIN: int, Kind.POOL: int, Kind.MEMBER: str}
    if kind is None or not isinstance(question.after, (keys.get(kind, bytes), type(None))):
        raise RookeryError(Cause.INVALID, "no such objects to copy")
    return kind


def _page(reader: Reader, kind: Kind, after: Key | None, store: str | None) -> Copied:
    generation, last, share = standing.generation(reader), reads.last_change(reader), _share(reader, store)
    first = kind is _KINDS[0] and after is None
    found: Images = {}
    octets = 0
    step = STEP_LARGE if kind is Kind.EXPANSION else OBJECTS
    while octets < PAGE_LIMIT:
        wanted = objects.page(reader, kind, after, step)
        after = wanted[-1] if wanted else None
        if after is None:
            break
        keys = {kind: dict.fromkeys(wanted)}
        more = objects.images(reader, keys, share)
        objects.merge(found, keys, more)
        octets += objects.size(more)
    changes = list(reads.changes(reader, max(0, last - RECENT), RECENT)) if first else []
    rows = [(one.number, one.kind.value, one.object, one.verb.value, one.at) for one in changes]
    return Copied(generation, last, _tables(found), after, store is None, rows)
