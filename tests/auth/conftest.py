"""A site with one domain and three accounts, a clock that moves when somebody sleeps."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from rookery.base.clock import ManualClock
from rookery.base.ids import AccountId
from rookery.distribution.auth.authenticator import Authenticator, AuthSettings
from rookery.distribution.auth.hasher import Hasher
from rookery.distribution.directory.administration import Administration
from rookery.distribution.directory.directory import Directory
from rookery.distribution.directory.opening import open_directory
from rookery.distribution.directory.settings import DirectorySettings
from rookery.distribution.directory.values import AccountRecord, Credential, CredentialKind, Hashed, Plain
from rookery.storage.gate import Gate

OLD_HASH = "{SSHA}5dFHPVES437byFNldXbyskNEmv1WzWER"  # of "secret"


class CountingHasher(Hasher):
    """Counts the pieces of work that reach its threads."""

    def __init__(self, threads: int = 2, waiting: int = 1000) -> None:
        super().__init__(threads, waiting)
        self.count = 0

    async def run(self, work):  # type: ignore[no-untyped-def]
        self.count += 1
        return await super().run(work)


class Site:
    """What the tests of logging in share. `slept`: the delays that were waited for."""

    def __init__(self, directory: Directory, hasher: CountingHasher, clock: ManualClock) -> None:
        self.directory = directory
        self.hasher = hasher
        self.clock = clock
        self.admin = Administration(directory)
        self.slept: list[float] = []
        self.authenticator = Authenticator(
            directory, hasher, clock=clock, settings=AuthSettings(scram=True), sleep=self.sleep
        )

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.clock.advance(seconds)

    async def check(self, login: str, password: str, peer: str = "192.0.2.1") -> AccountRecord:
        return await self.authenticator.check_password(login, password, protocol="imap", peer=peer, session="s")

    def rows(self, account: AccountId, kind: CredentialKind) -> list[Credential]:
        have = self.directory.credentials(account)
        return [row for row in have.rows if row.kind is kind] if have else []


@pytest.fixture
def hasher() -> Iterator[CountingHasher]:
    hasher = CountingHasher()
    yield hasher
    hasher.close()


@pytest_asyncio.fixture
async def site(tmp_path: Path, hasher: CountingHasher) -> AsyncIterator[Site]:
    """alice: a new password "wonderland". bob: an old hash of "secret". carol: no password."""
    clock = ManualClock()
    directory = open_directory(
        tmp_path / "directory.db",
        clock=clock,
        gate=Gate(),
        hasher=hasher,
        settings=DirectorySettings(scram=True, scram_iterations=64),
    )
    made = Site(directory, hasher, clock)
    await made.admin.add_domain("d.test")
    await made.admin.add_account("alice@d.test", Plain("wonderland"))
    await made.admin.add_account("bob@d.test", Hashed(OLD_HASH))
    await made.admin.add_account("carol@d.test")
    hasher.count = 0
    yield made
    await made.authenticator.settle()
    await directory.close()
