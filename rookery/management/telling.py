"""A directory node tells by signals that something has changed, so that nobody need wait until he asks again."""

import asyncio

from rookery.base.errors import RookeryError
from rookery.base.log import logger
from rookery.distribution.directory.directory import Directory
from rookery.distribution.directory.values import Kind
from rookery.distribution.service.signals import MEMBERS, NAMES, Hub

PAGE = 1_000
OF_MEMBERS = frozenset({Kind.MEMBER, Kind.AUTHORITY})
GATHERED = 0.2  # seconds in which changes are told of together
AGAIN = 1.0  # seconds until a directory that failed is read again

log = logger("cluster")


async def tell_changes(directory: Directory, hub: Hub) -> None:
    """Until cancelled, of everything that changes from now on, here or elsewhere."""
    woken = asyncio.Event()
    unwatch = directory.watch(woken.set)
    try:
        seen = await directory.find(lambda view: view.last_change())
        while True:
            await woken.wait()
            woken.clear()
            try:
                seen = await _tell(directory, hub, seen)
            except RookeryError as error:
                log.refused("changes-not-told", error.refusal)
                woken.set()
                await asyncio.sleep(AGAIN)
            await asyncio.sleep(GATHERED)
    finally:
        unwatch()


async def _tell(directory: Directory, hub: Hub, seen: int) -> int:
    """Of the changes after number `seen`; returns the last."""
    kinds = set[Kind]()
    while changes := await directory.find(lambda view, after=seen: view.changes(after, PAGE)):  # type: ignore[misc]
        kinds |= {change.kind for change in changes}
        seen = changes[-1].number
    if kinds & OF_MEMBERS:
        hub.tell(MEMBERS)
    if kinds - OF_MEMBERS:
        hub.tell(NAMES)
    return seen
