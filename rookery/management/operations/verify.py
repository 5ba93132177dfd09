"""`rookery store verify`: does every message that the index names exist, whole and unrotten, and nothing too much."""

from typing import TYPE_CHECKING

import msgspec

from rookery.management.operations.registry import operation

if TYPE_CHECKING:
    from rookery.management.parts import Parts


class Verified(msgspec.Struct, frozen=True):
    """`problems` in plain words, each naming a message or file. `dead`: octets that compaction will give back."""

    accounts: int
    blobs: int
    octets: int
    dead: int
    problems: list[str]


@operation("store.verify")
async def verify_store(parts: "Parts") -> Verified:
    """Reads everything; the node goes on serving meanwhile. Harmless left-overs are no problem."""
    found = await parts.store.verify()
    problems = [] if found.sound else [f"{one.trouble.value}: {one.where}: {one.what}" for one in found.findings]
    if found.more:
        problems.append(f"and {found.more} more")
    return Verified(found.accounts, found.blobs, found.octets, found.dead, problems)
