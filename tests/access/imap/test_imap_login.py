"""Greeting, capabilities, login by every way, limits before it, and goodbye."""

import base64
import hashlib
import hmac
from pathlib import Path

from tests.access.imap.support import DOMAIN, HERE, OUTSIDE, PASSWORD, Client, World, make_world


async def test_greeting_and_capabilities_before_login(world: World) -> None:
    client = world.connect()
    greeting = await client.line()
    assert greeting.startswith(b"* OK [CAPABILITY IMAP4rev1 IMAP4rev2 LITERAL+ SASL-IR ID ENABLE")
    assert b"AUTH=PLAIN" in greeting
    assert b"LOGINDISABLED" not in greeting
    assert b"IDLE" not in greeting, "what needs a login is told after it"


async def test_capabilities_change_after_login(world: World) -> None:
    client = world.connect()
    await client.line()
    answer = await client.command(f'LOGIN alice@{DOMAIN} "{PASSWORD}"')
    assert answer[0].startswith(b"OK [CAPABILITY IMAP4rev1 IMAP4rev2")
    assert b" IDLE " in answer[0]
    assert b"AUTH=" not in answer[0]
    (line,) = await client.ok("CAPABILITY")
    assert b" UIDPLUS " in line


async def test_no_passwords_in_clear_from_outside(world: World) -> None:
    client = world.connect(OUTSIDE)
    greeting = await client.line()
    assert b"LOGINDISABLED" in greeting
    assert b"AUTH=PLAIN" not in greeting
    assert b"AUTH=SCRAM-SHA-256" in greeting
    assert await client.command(f'LOGIN alice@{DOMAIN} "{PASSWORD}"') == [b"NO [PRIVACYREQUIRED] Start TLS first"]
    assert await client.command("AUTHENTICATE PLAIN") == [b"NO [PRIVACYREQUIRED] Start TLS first"]


async def test_wrong_and_unknown_are_told_alike(world: World) -> None:
    client = world.connect()
    await client.line()
    wrong = await client.command(f"LOGIN alice@{DOMAIN} wrong")
    assert wrong == await client.command(f"LOGIN nobody@{DOMAIN} wrong")
    assert wrong == [b"NO [AUTHENTICATIONFAILED] Login failed"]


def _plain() -> str:
    return base64.b64encode(f"\0alice@{DOMAIN}\0{PASSWORD}".encode()).decode()


async def test_authenticate_plain_with_and_without_initial_response(world: World) -> None:
    client = world.connect()
    await client.line()
    assert (await client.command(f"AUTHENTICATE PLAIN {_plain()}"))[-1].startswith(b"OK [CAPABILITY")
    client = world.connect()
    await client.line()
    client.send(b"a AUTHENTICATE PLAIN\r\n")
    assert await client.line() == b"+ "
    client.send(_plain().encode() + b"\r\n")
    assert (await client.line()).startswith(b"a OK [CAPABILITY")


async def test_authenticate_login_and_cancel(world: World) -> None:
    client = world.connect()
    await client.line()
    client.send(b"a AUTHENTICATE LOGIN\r\n")
    assert (await client.line()).startswith(b"+ ")
    client.send(b"*\r\n")
    assert await client.line() == b"a BAD Authentication cancelled"
    client.send(b"b AUTHENTICATE LOGIN\r\n")
    assert base64.b64decode((await client.line())[2:]) == b"Username:"
    client.send(base64.b64encode(f"alice@{DOMAIN}".encode()) + b"\r\n")
    assert base64.b64decode((await client.line())[2:]) == b"Password:"
    client.send(base64.b64encode(PASSWORD.encode()) + b"\r\n")
    assert (await client.line()).startswith(b"b OK")


async def _scram(client: Client, password: str) -> bytes:
    """RFC 7677 by hand; the tagged answer."""
    first = f"n=alice@{DOMAIN},r=clientnonce"
    client.send(b"a AUTHENTICATE SCRAM-SHA-256 %b\r\n" % base64.b64encode(b"n,," + first.encode()))
    server = base64.b64decode((await client.line())[2:]).decode()
    nonce, salt, iterations = (part[2:] for part in server.split(","))
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), base64.b64decode(salt), int(iterations))
    key = hmac.digest(salted, b"Client Key", "sha256")
    without = f"c=biws,r={nonce}"
    signature = hmac.digest(hashlib.sha256(key).digest(), f"{first},{server},{without}".encode(), "sha256")
    proof = base64.b64encode(bytes(a ^ b for a, b in zip(key, signature, strict=True))).decode()
    client.send(base64.b64encode(f"{without},p={proof}".encode()) + b"\r\n")
    answer = await client.line()
    if answer.startswith(b"+ "):
        client.send(b"\r\n")
        answer = await client.line()
    return answer


async def test_authenticate_scram(world: World) -> None:
    client = world.connect(OUTSIDE)
    await client.line()
    assert (await _scram(client, "wrong")).startswith(b"a NO [AUTHENTICATIONFAILED]")
    assert (await _scram(client, PASSWORD)).startswith(b"a OK [CAPABILITY")


async def test_states(world: World) -> None:
    client = world.connect()
    await client.line()
    assert (await client.command("SELECT INBOX"))[0].startswith(b"BAD")
    await client.ok(f'LOGIN alice@{DOMAIN} "{PASSWORD}"')
    assert (await client.command("FETCH 1 FLAGS"))[0].startswith(b"BAD")
    assert (await client.command(f'LOGIN alice@{DOMAIN} "{PASSWORD}"'))[0].startswith(b"BAD")


async def test_failed_logins_are_limited(world: World) -> None:
    client = world.connect(OUTSIDE)
    await client.line()
    answers = [await _scram(client, "wrong") for _ in range(30)]
    assert answers[0].startswith(b"a NO [AUTHENTICATIONFAILED]")
    assert answers[-1] == b"a NO [UNAVAILABLE] Too many failed logins, try again later"


async def test_logout(world: World) -> None:
    client = await world.login()
    await client.dialogue("""
        C: x LOGOUT
        S: * BYE Logging out
        S: x OK Logout completed
    """)
    assert await client.stream.read() == b""
    await client.hang_up()


async def test_id(world: World) -> None:
    client = world.connect(HERE)
    await client.line()
    assert await client.ok("ID NIL") == [b'* ID ("name" "Rookery")']
    await client.ok(f'LOGIN alice@{DOMAIN} "{PASSWORD}"')
    (line,) = await client.ok('ID ("name" "mutt")')
    assert b'"version"' in line


async def test_enable(world: World) -> None:
    client = await world.login()
    assert await client.ok("ENABLE X-UNKNOWN") == [b"* ENABLED"]
    assert await client.ok("ENABLE IMAP4rev2 CONDSTORE") == [b"* ENABLED IMAP4rev2 CONDSTORE"]


async def test_bad_commands_end_the_connection(world: World) -> None:
    client = world.connect()
    await client.line()
    for _ in range(9):
        client.send(b"x NONSENSE\r\n")
        assert (await client.line()).startswith(b"x BAD")
    client.send(b"x NONSENSE\r\n")
    assert (await client.line()).startswith(b"x BAD")
    assert (await client.line()).startswith(b"* BYE")
    assert await client.stream.read() == b""


async def test_two_accounts_do_not_see_each_other(world: World) -> None:
    await world.append("alice", b"Subject: mine\r\n\r\n")
    client = await world.login("bob")
    assert b"* 0 EXISTS" in await client.ok("SELECT INBOX")


async def test_an_account_whose_mail_is_missing(tmp_path: Path) -> None:
    async with make_world(tmp_path, "alice") as world:
        await world.store.remove_account(world.account_id("alice"))
        client = world.connect()
        await client.line()
        answer = await client.command(f'LOGIN alice@{DOMAIN} "{PASSWORD}"')
        assert answer == [b"NO [UNAVAILABLE] Temporarily unavailable, try again later"]
