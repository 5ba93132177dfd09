"""Mailbox names of 64 levels each, none of which exist: LIST tells of them all without gathering them."""

import asyncio
import tracemalloc
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from rookery.access.imap.aside import THREADS
from rookery.access.imap.listing import Tree, list_rows
from rookery.storage.names import parents
from rookery.storage.values import Mailbox
from rookery.wire.imap.commands import List
from tests.access.imap.support import make_world

LEVELS = 64
NAMES = st.sets(st.text("ab!/", min_size=1, max_size=9).filter(lambda name: all(name.split("/"))), max_size=8)


def _box(number: int, name: str) -> Mailbox:
    return Mailbox(number, name, 1, 1, 1, 0, 0, 0, 0, subscribed=False)


def test_implied_names_are_not_gathered() -> None:
    boxes = [_box(number, "/".join(f"{number:05d}{level:08d}" for level in range(LEVELS))) for number in range(150)]
    listing = list_rows(List("", ("*",)), boxes, (), rev2=True)
    tracemalloc.start()
    try:
        count = sum(1 for _ in map(listing.row, listing.names))
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert count == 150 * LEVELS
    assert most < 100_000, "octets; the names together have four million"


@given(NAMES)
def test_a_tree_is_names_and_what_is_above_them(names: set[str]) -> None:
    above = {parent for name in names for parent in parents(name)}
    tree = Tree(names)
    assert sorted(tree) == sorted(names)
    told = list(tree.with_parents())
    assert sorted(told) == sorted(names | above)
    for place, name in enumerate(told):
        below = any(later.startswith(name + "/") for later in told[place + 1 : place + 2])
        assert tree.below(name) == (name in above) == below


async def test_others_have_their_turn_amid_wild_patterns(tmp_path: Path) -> None:
    """As many such commands as there are threads, in many slices each; who asks for little comes in between."""
    async with make_world(tmp_path, "alice") as world:
        greedy = [await world.login() for _ in range(THREADS)]
        modest = await world.login()
        for at in range(60):
            await modest.ok(f"SUBSCRIBE {'/'.join(['ab' * 7] * 60)}/{at}")
        patterns = " ".join(f'"*{"a%/" * 9}%b%{number}*"' for number in range(50))
        wild = [asyncio.create_task(client.ok(f'LIST (SUBSCRIBED) "" ({patterns})')) for client in greedy]
        await asyncio.sleep(0)
        assert len(await modest.ok('LSUB "" *')) >= 60
        assert not any(task.done() for task in wild)
        assert await asyncio.gather(*wild) == [[], []]
