"""One account with ever more sessions, from as many addresses: each holds memory, and all wake at each of its mails."""

from pathlib import Path

from rookery.access.imap import ImapSettings
from rookery.net.stream import Peer
from tests.access.imap.support import DOMAIN, PASSWORD, make_world

REFUSED = b"NO [LIMIT] Too many sessions of this account, end some of them first"
LOGIN = f'LOGIN alice@{DOMAIN} "{PASSWORD}"'


async def test_an_account_has_so_many_sessions_and_no_more(tmp_path: Path) -> None:
    async with make_world(tmp_path, "alice", "bob", imap=ImapSettings(sessions=3)) as world:
        sessions = [await world.login() for _ in range(3)]
        late = world.connect(Peer("127.0.0.9", 40_000))
        await late.line()
        assert (await late.command(LOGIN))[-1] == REFUSED
        assert (await late.command("SELECT INBOX"))[-1].startswith(b"BAD"), "not logged in"
        await (await world.login("bob")).ok("SELECT INBOX")
        await sessions[0].hang_up()
        await late.ok(LOGIN)
        await late.ok("SELECT INBOX")
