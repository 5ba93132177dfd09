"""A backend is killed that had checked everybody's password: its users come back through the frontend all at once."""

import asyncio
import os
import resource
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from rookery.distribution.auth import schemes
from tests import postgres as server
from tests.journeys.crowd import Line
from tests.journeys.imap import Refused
from tests.journeys.test_frontend_pool import BACKENDS, Pool

pytestmark = [pytest.mark.postgres, pytest.mark.crash]
postgres = server.postgres

PASSWORD = "wonderland"
AT_ONCE = 32  # that log in for the first time
AGAIN = 0.2  # seconds between two attempts of one client
PATIENCE = 120.0  # seconds; far more than it takes


class Herd:
    """Clients of a frontend, an account each, that come back when their connection ends."""

    def __init__(self, pool: Pool, accounts: list[str]) -> None:
        self._port = pool.front.ports["imap"]
        self._accounts = accounts
        self._lives: list[asyncio.Task[None]] = []
        self.ended: list[float] = []
        self.back: list[float] = []

    async def log_in(self) -> None:
        turn = asyncio.Semaphore(AT_ONCE)

        async def one(account: str) -> Line:
            async with turn:
                return await self._logged_in(account)

        lines = await asyncio.gather(*map(one, self._accounts))
        self._lives = [
            asyncio.create_task(self._live(account, line)) for account, line in zip(self._accounts, lines, strict=True)
        ]

    async def _logged_in(self, account: str) -> Line:
        while True:
            line = None
            try:
                line = await Line.to("127.0.0.1", self._port)
                await line.ask(f'LOGIN {account} "{PASSWORD}"'.encode())
                await line.ask(b"SELECT INBOX")
            except (Refused, OSError, EOFError, TimeoutError):
                if line is not None:
                    line.close()
                await asyncio.sleep(AGAIN)
            else:
                return line

    async def _live(self, account: str, line: Line) -> None:
        while True:
            line.write(b"t IDLE\r\n")
            try:
                while True:
                    await line.read()
            except (EOFError, OSError):
                line.close()
            self.ended.append(time.monotonic())
            line = await self._logged_in(account)
            self.back.append(time.monotonic())

    async def settle(self, least: int) -> None:
        """Until at least so many have lost their sessions, and all of them are back."""
        async with asyncio.timeout(PATIENCE):
            while len(self.ended) < least or len(self.back) < len(self.ended):  # noqa: ASYNC110  time is what it measures
                await asyncio.sleep(AGAIN)

    async def close(self) -> None:
        for life in self._lives:
            life.cancel()
        await asyncio.gather(*self._lives, return_exceptions=True)


@pytest.fixture
def pool(tmp_path: Path, postgres: str) -> Iterator[Pool]:
    with psycopg.connect(postgres, autocommit=True) as administrator:
        administrator.execute("CREATE DATABASE login_herd TEMPLATE template0 ENCODING 'UTF8'")
        settings = {"limits__connections_per_address": "20000", "limits__before_login": "20000"}
        made = Pool(tmp_path, make_conninfo(postgres, dbname="login_herd"), **settings)
        yield made
        made.kill()
        administrator.execute("DROP DATABASE login_herd WITH (FORCE)")


def more_files() -> None:
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


@pytest.mark.parametrize("sessions", [300, pytest.param(10_000, marks=pytest.mark.soak)])
def test_everybody_is_back_after_a_death(pool: Pool, tmp_path: Path, sessions: int) -> None:
    more_files()
    accounts = [f"herd{number}@example.test" for number in range(sessions)]
    table, hashed = tmp_path / "accounts.csv", schemes.make(PASSWORD.encode())
    table.write_text("".join(f'{address},"{hashed}"\n' for address in accounts))
    pool.site.rookery("account", "import", str(table))

    async def live() -> None:
        herd = Herd(pool, accounts)
        await herd.log_in()
        victim = next(iter(BACKENDS))  # whom the frontend asks first
        killed = time.monotonic()
        os.kill(pool.process_of(victim), signal.SIGKILL)
        await herd.settle(sessions // 5)
        print(f"{len(herd.ended)} of {sessions} were back after {max(herd.back) - killed:.1f} s")
        await herd.close()

    asyncio.run(live())
