"""Logins at a backend that does not host the account; and that nothing is said before it is known to be true."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from rookery.base.errors import Cause, RookeryError
from tests.access.hosts import THERE, Hosts
from tests.access.imap.support import PASSWORD, World, make_world


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with make_world(tmp_path, "alice", "bob") as made:
        made.services = replace(made.services, hosts=Hosts())
        yield made


def _hosts(world: World) -> Hosts:
    hosts = world.services.hosts
    assert isinstance(hosts, Hosts)
    return hosts


@pytest.mark.parametrize("command", ["LOGIN", "AUTHENTICATE"])
async def test_a_login_is_referred(world: World, command: str) -> None:
    _hosts(world).away[world.account_id("alice")] = THERE
    client = world.connect()
    await client.line()
    if command == "LOGIN":
        client.send(f'a LOGIN alice@d.test "{PASSWORD}"\r\n'.encode())
    else:
        client.send(b"a AUTHENTICATE PLAIN AGFsaWNlQGQudGVzdABodW50ZXIyIGh1bnRlcjM=\r\n")
    answer = await client.line()
    assert answer.startswith(b"a NO [REFERRAL imap://alice%40d.test;AUTH=*@127.0.0.12:143/]")
    await client.ok("NOOP")  # not logged in, and still there
    await client.ok(f'LOGIN bob@d.test "{PASSWORD}"')


async def test_a_wrong_password_learns_nothing(world: World) -> None:
    _hosts(world).away[world.account_id("alice")] = THERE
    client = world.connect()
    await client.line()
    client.send(b"a LOGIN alice@d.test wrong\r\n")
    assert (await client.line()).startswith(b"a NO [AUTHENTICATIONFAILED]")


async def test_nobody_can_say_who_hosts_it(world: World) -> None:
    _hosts(world).away[world.account_id("alice")] = RookeryError(Cause.UNAVAILABLE, "the database is away")
    client = world.connect()
    await client.line()
    client.send(f'a LOGIN alice@d.test "{PASSWORD}"\r\n'.encode())
    assert (await client.line()).startswith(b"a NO [UNAVAILABLE]")


async def test_an_answer_waits_until_it_is_known_to_be_true(world: World) -> None:
    client, hosts = await world.selected(), _hosts(world)
    hosts.known = False
    client.send(b"a NOOP\r\n")
    await asyncio.wait_for(hosts.asked.wait(), 10)
    waiting = asyncio.create_task(client.line())
    await asyncio.sleep(0)
    assert not waiting.done()
    hosts.known = True
    hosts.verdict.set_result(None)
    assert await waiting == b"a OK Noop completed"


@pytest.mark.parametrize("command", [b"NOOP", b"FETCH 1:* FLAGS", b"SEARCH ALL"])
async def test_an_answer_that_may_be_false_is_not_given(world: World, command: bytes) -> None:
    await world.append("alice", b"Subject: x\r\n\r\n")
    client, hosts = await world.selected(), _hosts(world)
    hosts.known = False
    hosts.verdict.set_exception(RookeryError(Cause.UNAVAILABLE, "not verified"))
    client.send(b"a " + command + b"\r\n")
    assert (await client.line()).startswith(b"* BYE [UNAVAILABLE]")


async def test_an_account_that_is_lost_ends_its_sessions(world: World) -> None:
    client, idling = await world.selected(), await world.selected()
    idling.send(b"a IDLE\r\n")
    assert (await idling.line()).startswith(b"+")
    world.store.drop_account(world.account_id("alice"))
    for one in (client, idling):
        assert (await one.line()).startswith(b"* BYE [UNAVAILABLE]")
