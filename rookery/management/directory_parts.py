"""The opened parts of a node that has the directory only: those of `parts.Parts` that need neither store nor queue."""

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, replace
from typing import cast

from rookery.base.clock import Clock, SystemClock
from rookery.base.config import Config
from rookery.base.config.tree import Placing
from rookery.base.errors import Cause, RookeryError
from rookery.distribution.auth.authenticator import Authenticator
from rookery.distribution.auth.hasher import Hasher
from rookery.distribution.directory.administration import Administration
from rookery.distribution.directory.directory import Directory
from rookery.distribution.directory.pools import PoolAdministration
from rookery.distribution.directory.settings import DirectorySettings
from rookery.management.keeping import open_accounts
from rookery.management.operations.registry import Operation
from rookery.management.parts import Parts, Running, auth_settings, directory_settings
from rookery.management.replication import Replication, ready
from rookery.management.site import Site
from rookery.storage.engine import EngineFailed
from rookery.storage.gate import Gate


@dataclass(slots=True)
class DirectoryParts:
    site: Site
    config: Config
    clock: Clock
    gate: Gate
    hasher: Hasher
    directory: Directory
    administration: Administration
    authenticator: Authenticator
    pools: PoolAdministration
    running: Running | None
    incomplete: bool
    backend: str
    replication: Replication | None
    _opened: AsyncExitStack

    @classmethod
    async def open(
        cls, site: Site, config: Config, *, gate: Gate | None = None, replication: Replication | None = None
    ) -> "DirectoryParts":
        """`replication`: see `parts.Parts`. Raises RookeryError."""
        clock, gate = SystemClock(), gate or Gate()
        async with AsyncExitStack() as opened:
            hasher = Hasher(config.auth.threads)
            opened.callback(hasher.close)
            directory = open_accounts(site, config, clock=clock, gate=gate, hasher=hasher, settings=_settings(config))
            opened.push_async_callback(directory.close)
            await ready(directory, replication)
            authenticator = Authenticator(directory, hasher, clock=clock, settings=auth_settings(config))
            opened.push_async_callback(authenticator.settle)
            return cls(
                site=site,
                config=config,
                clock=clock,
                gate=gate,
                hasher=hasher,
                directory=directory,
                administration=Administration(directory),
                authenticator=authenticator,
                pools=PoolAdministration(directory),
                running=None,
                incomplete=False,
                backend="",
                replication=replication,
                _opened=opened.pop_all(),
            )

    def take_up(self, config: Config) -> None:
        """New settings of those that are not read at the start only."""
        self.config = config
        self.authenticator.settings = auth_settings(config)
        self.directory.settings = _settings(config)
        self.directory.secrets.keyed = self.directory.settings.scram

    async def confirm(self) -> None:
        """That this node may go on. Raises UNSUPPORTED once a newer release has changed the tables so that this one
        may not use them any more.
        """
        if self.directory.shared:
            with suppress(EngineFailed):  # the database is away
                await asyncio.to_thread(self.directory.confirm_release)

    async def close(self) -> None:
        await self._opened.aclose()

    def __getattr__(self, name: str) -> object:
        """What an operation wants beside: mail. Raises RookeryError(UNSUPPORTED)."""
        if name.startswith("_") or not hasattr(Parts, name):
            raise AttributeError(name)
        raise RookeryError(
            Cause.UNSUPPORTED, "this node has the directory only, no mail and no queue: ask a node with mail for that"
        )


async def operate(parts: DirectoryParts, operation: Operation, arguments: Mapping[str, object]) -> object:
    """Of operations that work on all parts, those that need no others than these do so here too."""
    return await operation.run(cast(Parts, parts), **arguments)


def _settings(config: Config) -> DirectorySettings:
    """There is no pool `here`: the emptiest one is meant."""
    made = directory_settings(config)
    return replace(made, placing=Placing.FEWEST_ACCOUNTS) if made.placing is Placing.HERE else made
