r"""The classic invariant of IMAP: a client that replays what it was told knows the true mailbox.

Two sessions do random things to one mailbox; each keeps the mailbox as its responses say, and checks every number.
"""

import asyncio
import random
import re
from pathlib import Path

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.access.imap.support import Client, World, make_world, message

FLAGS = ("\\Seen", "\\Flagged", "\\Deleted", "$Work")


ACTS = ("append", "store", "store", "uid store", "expunge", "noop", "fetch", "copy", "move", "search")


class Believer:
    """A client: UID and flags of each message by number, None while not told."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.uids: list[int | None] = []
        self.flags: list[frozenset[str] | None] = []

    async def select(self, mailbox: str) -> None:
        await self.command(f"SELECT {mailbox}")

    async def command(self, text: str, *, numbers_stay: bool = False) -> bytes:
        *untagged, tagged = await self.client.command(text)
        self.take(untagged, numbers_stay=numbers_stay)
        return tagged

    def take(self, lines: list[bytes], *, numbers_stay: bool = False) -> None:
        for line in lines:
            if found := re.fullmatch(rb"\* (\d+) EXISTS", line):
                assert int(found[1]) >= len(self.uids), "EXISTS never takes away"
                while len(self.uids) < int(found[1]):
                    self.uids.append(None)
                    self.flags.append(None)
            elif found := re.fullmatch(rb"\* (\d+) EXPUNGE", line):
                assert not numbers_stay, "numbers shifted while they were talked of"
                del self.uids[int(found[1]) - 1], self.flags[int(found[1]) - 1]
            elif found := re.fullmatch(rb"\* (\d+) FETCH \((.*)\)", line):
                self._fetched(int(found[1]) - 1, found[2].decode())

    def _fetched(self, place: int, items: str) -> None:
        assert place < len(self.uids), "a number that is not in use"
        if found := re.search(r"UID (\d+)", items):
            assert self.uids[place] in (None, int(found[1])), "a number means another message now"
            self.uids[place] = int(found[1])
        if found := re.search(r"FLAGS \(([^)]*)\)", items):
            self.flags[place] = frozenset(found[1].split()) - {"\\Recent"}

    def silently(self, places: list[int], mode: str, flags: frozenset[str]) -> None:
        """What a .SILENT STORE has surely done; to messages that were gone it does not matter."""
        for place in places:
            old = self.flags[place]
            if mode == "FLAGS":
                self.flags[place] = flags
            elif old is not None:
                self.flags[place] = old | flags if mode == "+FLAGS" else old - flags

    async def check(self) -> None:
        """Everything that was told must be so."""
        await self.command("NOOP")
        told = list(self.flags)
        if self.uids:
            await self.command("FETCH 1:* (UID FLAGS)")
        for before, now in zip(told, self.flags, strict=True):
            assert before is None or before == now, "flags changed and nobody said so"
        assert None not in self.uids
        assert self.uids == sorted(self.uids, key=lambda uid: uid or 0)


async def _act(one: Believer, mailbox: str, chooser: random.Random) -> None:
    count = len(one.uids)
    act = chooser.choice(ACTS)
    if act == "append":
        one.take(await one.client.append_responses(mailbox, message(), chooser.choice(["", "(\\Seen) "])))
        return
    if act in ("expunge", "noop") or not count:
        await one.command("EXPUNGE" if act == "expunge" else "NOOP")
        return
    places = sorted(chooser.sample(range(count), chooser.randint(1, count)))
    numbers = ",".join(str(place + 1) for place in places)
    if act == "store":
        mode, silent = chooser.choice(["FLAGS", "+FLAGS", "-FLAGS"]), chooser.choice(["", ".SILENT"])
        flags = frozenset(chooser.sample(FLAGS, chooser.randint(0, 2)))
        *untagged, _ = await one.client.command(f"STORE {numbers} {mode}{silent} ({' '.join(sorted(flags))})")
        if silent:
            one.silently(places, mode, flags)
        one.take(untagged, numbers_stay=True)
    elif act == "uid store":
        uids = [str(one.uids[place]) for place in places if one.uids[place]]
        if uids:
            await one.command(f"UID STORE {','.join(uids)} +FLAGS (\\Deleted)")
    elif act == "fetch":
        await one.command(f"FETCH {numbers} (UID FLAGS)", numbers_stay=True)
    elif act == "search":
        await one.command(f"SEARCH {numbers} SEEN", numbers_stay=True)
    else:
        await one.command(f"{act} {numbers} {chooser.choice([mailbox, 'Trash'])}")


async def _round(world: World, mailbox: str, chooser: random.Random, steps: list[int]) -> None:
    sessions = [Believer(await world.login()) for _ in range(2)]
    await sessions[0].command(f"CREATE {mailbox}")
    for _ in range(6):
        await sessions[0].client.append(mailbox, message())
    for session in sessions:
        await session.select(mailbox)
    for who in steps:
        if who == 2:  # both at once
            await asyncio.gather(*(_act(session, mailbox, chooser) for session in sessions))
        else:
            await _act(sessions[who], mailbox, chooser)
    for session in sessions:
        await session.command("NOOP")
    for session in sessions:
        await session.check()
    assert sessions[0].uids == sessions[1].uids
    assert sessions[0].flags == sessions[1].flags
    for session in sessions:
        await session.client.hang_up()


def test_two_sessions_agree_with_the_mailbox(tmp_path: Path) -> None:
    with asyncio.Runner() as runner:
        context = make_world(tmp_path, "alice")
        world = runner.run(context.__aenter__())
        count = 0

        # another session set the same flag of another message in the same moment
        @example(seed=4580, steps=[0, 2, 2, 2, 0, 2])
        @settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
        @given(seed=st.integers(0, 1 << 32), steps=st.lists(st.integers(0, 2), min_size=5, max_size=60))
        def rounds(seed: int, steps: list[int]) -> None:
            nonlocal count
            count += 1
            runner.run(_round(world, f"box{count}", random.Random(seed), steps))

        try:
            rounds()
            assert count >= 150, "rounds were left out"
        finally:
            runner.run(context.__aexit__(None, None, None))


async def test_the_same_flag_of_another_message_is_told(tmp_path: Path) -> None:
    async with make_world(tmp_path, "alice") as world:
        sessions = [Believer(await world.login()) for _ in range(2)]
        for _ in range(3):
            await sessions[0].client.append("INBOX", message())
        for session in sessions:
            await session.select("INBOX")
        await asyncio.gather(
            sessions[1].command("STORE 3 +FLAGS ($Work)"), sessions[0].command("STORE 1 +FLAGS.SILENT ($Work)")
        )
        await sessions[0].command("NOOP")
        assert sessions[0].flags[2] == {"$Work"}
        for session in sessions:
            await session.client.hang_up()
