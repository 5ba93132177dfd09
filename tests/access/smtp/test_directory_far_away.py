"""A directory on a database server: who is asked for is looked up while the loop goes on, and remembered."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from rookery.distribution.auth.authenticator import Authenticator, AuthSettings
from rookery.distribution.auth.hasher import Hasher
from rookery.distribution.directory.administration import Administration
from rookery.distribution.directory.settings import DirectorySettings
from rookery.distribution.directory.shared import open_shared_directory
from rookery.distribution.directory.values import Plain
from rookery.storage.gate import Gate
from tests import postgres as server
from tests.access.smtp.world import DOMAIN, PASSWORD, Client, World

pytestmark = pytest.mark.postgres
postgres, fresh_postgres, wire = server.postgres, server.fresh_postgres, server.wire


@pytest.fixture
async def far(world: World, fresh_postgres: server.Postgres, wire: server.Wire) -> AsyncIterator[World]:
    """Its directory is on a server, at the end of the wire; another node made alice, bob and a group."""
    hasher = Hasher()
    there, here = (
        open_shared_directory(
            uri, clock=world.clock, gate=Gate(), hasher=hasher, schema=fresh_postgres.schema,
            settings=DirectorySettings(default_domain=DOMAIN, scram_iterations=64),
        )
        for uri in (fresh_postgres.uri, wire.uri)
    )  # fmt: skip
    admin = Administration(there)
    await admin.add_domain(DOMAIN)
    for name in ("alice", "bob"):
        await admin.add_account(f"{name}@{DOMAIN}", Plain(PASSWORD))
    await admin.add_group(f"all@{DOMAIN}", [f"alice@{DOMAIN}", f"bob@{DOMAIN}"])
    await admin.add_alias(f"al@{DOMAIN}", [f"alice@{DOMAIN}"])
    await here.catch_up()
    world.directory = here
    world.authenticator = Authenticator(here, hasher, clock=world.clock, settings=AuthSettings())
    yield world
    wire.speaking.set()
    for directory in (there, here):
        await directory.close()
    hasher.close()


async def _slowly(wire: server.Wire, client: Client, line: str) -> list[str]:
    """The answer to a command for which the database has to be asked, and takes its time."""
    wire.speaking.clear()
    client.stream.write(line.encode() + b"\r\n")
    for _ in range(50):  # were it read here, the loop would not turn
        await asyncio.sleep(0)
    waiting = asyncio.ensure_future(client.replies(1))
    await asyncio.sleep(0)
    assert not waiting.done()
    wire.speaking.set()
    return await waiting


async def test_recipients_of_other_servers(far: World, wire: server.Wire) -> None:
    client = await far.mx()
    await client.say("MAIL FROM:<a@x.test>\n")
    for recipient in ("alice", "all", "al"):
        assert (await _slowly(wire, client, f"RCPT TO:<{recipient}@{DOMAIN}>"))[0].startswith("250")
    assert (await _slowly(wire, client, f"RCPT TO:<nobody@{DOMAIN}>"))[0].startswith("550")
    assert (await _slowly(wire, client, "RCPT TO:<who@elsewhere.test>"))[0].startswith("550")
    wire.stop()
    assert await client.say(f"RCPT TO:<alice@{DOMAIN}>\n") == [250]
    assert await client.say(f"RCPT TO:<nobody@{DOMAIN}>\n") == [550]
    assert await client.say(f"RCPT TO:<bob@{DOMAIN}>\n") == [250]  # a member of the group above
    wire.go_on()


async def test_senders_and_recipients_of_users(far: World, wire: server.Wire) -> None:
    client = await far.submission(login=f"alice@{DOMAIN}")
    assert (await _slowly(wire, client, f"MAIL FROM:<al@{DOMAIN}>"))[0].startswith("250")
    assert (await _slowly(wire, client, f"RCPT TO:<bob@{DOMAIN}>"))[0].startswith("250")
    assert await client.say("RSET\n") == [250]
    assert (await _slowly(wire, client, f"MAIL FROM:<all@{DOMAIN}>"))[0].startswith("550")
    wire.stop()
    assert await client.say(f"MAIL FROM:<alice@{DOMAIN}>\n") == [250]
    assert await client.say(f"RCPT TO:<bob@{DOMAIN}>\n") == [250]
    wire.go_on()


async def test_deliveries(far: World, wire: server.Wire) -> None:
    client = await far.lmtp()
    await client.say("MAIL FROM:<a@x.test>\n")
    assert (await _slowly(wire, client, f"RCPT TO:<alice@{DOMAIN}>"))[0].startswith("250")
    wire.stop()
    assert await client.say(f"RCPT TO:<alice+detail@{DOMAIN}>\n") == [451]  # not known without asking
    assert await client.say(f"RCPT TO:<alice@{DOMAIN}>\n") == [250]
    wire.go_on()
