"""A primary and its replicas in one process, with real questions and answers between them, which tests may cut."""

import asyncio
from collections.abc import Callable
from pathlib import Path

from rookery.base.clock import Clock
from rookery.base.errors import Cause, RookeryError
from rookery.base.ids import RandomBytes, system_random
from rookery.base.members import Member, Role
from rookery.distribution.auth.hasher import Hasher
from rookery.distribution.directory import objects
from rookery.distribution.directory.directory import Directory
from rookery.distribution.directory.opening import open_directory
from rookery.distribution.directory.source import Source
from rookery.distribution.service.calls import Question, decode_question
from rookery.distribution.service.primary import Ask, NamedPrimary
from rookery.distribution.service.questions import Questions
from rookery.storage.engine import Reader
from rookery.storage.gate import Gate
from tests.directory.conftest import SETTINGS

ROLES = frozenset({Role.BACKEND, Role.DIRECTORY, Role.AUTHORITY})


class Nodes:
    """By name. `cut`: those that cannot be reached. `before`: called with each question that arrives anywhere."""

    def __init__(self, folder: Path, clock: Clock, hasher: Hasher) -> None:
        self.folder, self.clock, self.hasher = folder, clock, hasher
        self.directories: dict[str, Directory] = {}
        self.questions: dict[str, Questions] = {}
        self.cut: set[str] = set()
        self.before: Callable[[Question], None] = lambda question: None
        self.random: RandomBytes = system_random

    def add(self, name: str, directory: Directory) -> Directory:
        questions = Questions()
        Source(directory).take(questions)
        self.directories[name], self.questions[name] = directory, questions
        return directory

    def open(self, name: str, *, store: str = "") -> Directory:
        directory = open_directory(
            self.folder / f"{name}.db", clock=self.clock, gate=Gate(), hasher=self.hasher, settings=SETTINGS,
            random=self.random, copy=True, store=store,
        )  # fmt: skip
        return self.add(name, directory)

    async def replica(
        self, name: str, *asked: str, store: str = "", roles: frozenset[Role] = ROLES, wait: bool = True
    ) -> Directory:
        """Opened, and following whoever of `asked` is the primary."""
        directory = self.open(name, store=store)
        self.start(name, *asked, roles=roles)
        if wait:
            await ready(directory)
        return directory

    def start(self, name: str, *asked: str, roles: frozenset[Role] = ROLES) -> None:
        replica = self.directories[name].copies.replica
        assert replica is not None
        replica.start(self.primary(Member(name, roles, bytes(16), 1 << 40), *asked))

    def primary(self, caller: Member, *asked: str) -> NamedPrimary[str]:
        async def reach(address: str) -> Ask:
            if {address, caller.name} & self.cut:
                raise RookeryError(Cause.UNAVAILABLE, "cut off")

            async def ask(data: bytes) -> bytes:
                self.before(decode_question(data))
                answer = await self.questions[address].answer(caller, data)
                if {address, caller.name} & self.cut:
                    raise RookeryError(Cause.UNAVAILABLE, "cut off")
                return answer

            return ask

        return NamedPrimary(asked, reach)

    async def close(self, name: str) -> None:
        await self.directories.pop(name).close()


async def ready(directory: Directory) -> None:
    assert directory.copies.replica is not None
    async with asyncio.timeout(30):
        await directory.copies.replica.ready()
        await directory.catch_up()


def contents(directory: Directory) -> dict[str, list[tuple[object, ...]]]:
    """Everything that copies have in common."""

    def read(reader: Reader) -> dict[str, list[tuple[object, ...]]]:
        found = {
            table.name: sorted(map(tuple, reader.rows(f"SELECT {', '.join(table.columns)} FROM {table.name}")))
            for table in objects.ALL
        }
        found["name"] = sorted(map(tuple, reader.rows("SELECT domain, local, kind, object FROM name")))
        site = reader.rows("SELECT key, value FROM site")
        found["site"] = sorted((key, bytes(value)) for key, value in site if not key.startswith(objects.LOCAL))
        found["last"] = [(directory.last_change(),)]
        return found

    return directory.read(read)
