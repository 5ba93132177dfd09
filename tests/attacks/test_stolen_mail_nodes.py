"""A node that brings mail is stolen: it hands in mail as any mail exchanger can, and keeps no other mail away."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from rookery.base.members import Role
from rookery.net.cluster.member import PERMISSIONS, permits
from tests.access.smtp.world import DOMAIN, World, make_world

ID = "c0123456789a"


@pytest_asyncio.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with make_world(tmp_path) as made:
        yield made


async def _deliver(world: World, giver: str, text: str, delivery: str = f"{ID}/alice@{DOMAIN}") -> None:
    client = await world.lmtp(trusted=True, giver=giver)
    recipient = f"<alice@{DOMAIN}> XDELIVERY={delivery}"
    (answer,) = await client.send(recipient, message=f"Subject: {text}\r\n\r\n".encode())
    assert answer.startswith("250")
    await client.say("QUIT\n")


async def _subjects(world: World) -> list[bytes]:
    return [body.split(b"Subject: ")[1].strip() for body in await world.inbox("alice")]


async def test_mail_is_not_suppressed_by_the_delivery_ids_of_others(world: World) -> None:
    """A thief who knows or guesses the id of a message to come stores his own under it before."""
    for thief in ("mx1", "b2", "+south"):
        await _deliver(world, thief, f"of {thief}")
    await _deliver(world, "", "of our own queue")
    await _deliver(world, "+main", "of another pool")
    expected = [b"of mx1", b"of b2", b"of +south", b"of our own queue", b"of another pool"]
    assert await _subjects(world) == expected
    for giver in ("mx1", "", "+main"):  # whoever gives an id again means the same message
        await _deliver(world, giver, "again")
    assert await _subjects(world) == expected


async def test_a_giver_cannot_be_spelled_by_an_id(world: World) -> None:
    await _deliver(world, "mx1", "forged", f"x/~mx2/{ID}/alice@{DOMAIN}")
    await _deliver(world, "", "forged", f"~mx2/{ID}/alice@{DOMAIN}")  # our own queue makes no such ids
    await _deliver(world, "mx", "forged", f"1/{ID}/alice@{DOMAIN}")
    before = len(await _subjects(world))
    await _deliver(world, "mx1", "right")
    assert len(await _subjects(world)) == before + 1


async def test_an_mta_in_front_gives_no_ids(world: World) -> None:
    client = await world.lmtp(trusted=False)
    assert "XDELIVERY" not in client.text
    assert await client.say(f"MAIL FROM:<>\nRCPT TO:<alice@{DOMAIN}> XDELIVERY={ID}\n", 2) == [250, 555]


@pytest.mark.parametrize("what", sorted(set(PERMISSIONS) - {"lmtp", "smtp", "recipient"}))
def test_a_mail_exchanger_may_do_nothing_for_users(what: str) -> None:
    assert not permits({Role.MX_IN}, what)


@pytest.mark.parametrize("what", ["lmtp", "smtp", "recipient", "expect"])
def test_a_frontend_without_that_role_brings_no_mail_and_asks_for_no_addresses(what: str) -> None:
    assert not permits({Role.FRONTEND}, what)
