"""`rookery store verify`: does every message that the index names exist, whole and unrotten, and nothing too much."""

from typing import TYPE_CHECKING

import msgspec

from rookery.base.ids import account_text
from rookery.management.operations.registry import operation
from rookery.storage.verify import Finding

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
    problems = [] if found.sound else [_text(parts, one) for one in found.findings]
    if found.more:
        problems.append(f"and {found.more} more")
    return Verified(found.accounts, found.blobs, found.octets, found.dead, problems)


def _text(parts: "Parts", found: Finding) -> str:
    """With whose message it is, so that the user can be told and the message be found in a snapshot."""
    text = f"{found.trouble.value}: {found.where}: {found.what}"
    for message in found.messages:
        account = parts.directory.account_by_id(message.account)
        owner = account.address if account is not None else f"account {account_text(message.account)}"
        text += f"; {owner} {message.mailbox} UID {message.uid}"
    return text
