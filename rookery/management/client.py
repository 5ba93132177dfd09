"""How the command line runs an operation: on the running node by its control socket, else on the stopped site itself.

Without asyncio on the first way, so that a command is quick.
"""

import inspect
import os
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar, cast

import msgspec

from rookery.base.errors import Cause, RookeryError
from rookery.management.operations.registry import Operation, by_function
from rookery.management.protocol import Answer, socket_path
from rookery.management.site import open_site

if TYPE_CHECKING:
    from rookery.management.parts import Parts

P = ParamSpec("P")
R = TypeVar("R")

AWAKE = 0.5  # seconds in which one of several backends says that it is there; else the next one is asked
CONNECT_TIMEOUT = 5.0  # seconds; operations themselves may take as long as they need
CHUNK = 65536


class Client:
    """One site, seen from outside."""

    def __init__(self, folder: Path) -> None:
        """Raises RookeryError when there is no site in `folder` or its settings are wrong."""
        self.site, self.config = open_site(folder)
        self._sockets = self.site.controls(self.config)

    def at(self, backend: str) -> "Client":
        """The same, of one backend. Raises RookeryError when the site has none of that name."""
        names = [name for name, _ in self.config.store.backends]
        if backend not in (names or [self.config.site.hostname]):
            known = ", ".join(names or [self.config.site.hostname])
            raise RookeryError(Cause.NOT_FOUND, f"there is no backend {backend} on this node; it has {known}")
        made = Client(self.site.folder)
        made._sockets = [self.site.control(self.config, backend if names else "")]
        return made

    def at_host(self, address: str) -> "Client":
        """The same, of the backend of this node that hosts the account, whose sessions then hear of a change at once;
        any, when none of them does or there is no such account."""
        if not self.config.store.backends:
            return self
        from rookery.management.operations.backends import account_host

        try:
            host = self.call(account_host, address=address).host
            return self.at(host) if host else self
        except RookeryError:
            return self

    def call(self, function: Callable[Concatenate["Parts", P], Awaitable[R]], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run an operation wherever it can be run; raises RookeryError as the operation does."""
        return self.call_within(None, function, *args, **kwargs)

    def call_within(
        self,
        seconds: float | None,
        function: Callable[Concatenate["Parts", P], Awaitable[R]],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> R:
        """As `call`; a running node that has not answered after so many seconds is UNAVAILABLE."""
        found = by_function(function)
        given = inspect.signature(function).bind(None, *args, **kwargs).arguments
        arguments = dict(list(given.items())[1:])
        channel = self.connect(seconds)
        if channel is not None:
            with channel:
                return cast(R, _ask(channel, found, arguments))
        if found.running:
            raise RookeryError(
                Cause.UNAVAILABLE,
                f"no node is running on {self.site.folder}, and `{found.name.replace('.', ' ')}` asks a running one;"
                f" start it with `rookery --site {self.site.folder} serve`, or by systemd",
            )
        return cast(R, self._alone(found, arguments))

    def connect(self, timeout: float | None = None) -> socket.socket | None:
        """A connection to the node's control socket (of several backends, the first that answers), or None."""
        asleep = False
        for path in self._sockets:
            channel = self._connected(path, timeout)
            if channel is not None:
                if len(self._sockets) == 1 or _awake(channel, timeout):
                    return channel
                channel.close()
                asleep = True
        if asleep:
            raise RookeryError(Cause.UNAVAILABLE, "the node runs but does not answer in time; see its log")
        return None

    @staticmethod
    def _connected(path: Path, timeout: float | None) -> socket.socket | None:
        if not path.exists():
            return None
        address, folder = socket_path(path)
        channel = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        channel.settimeout(CONNECT_TIMEOUT if timeout is None else min(timeout, CONNECT_TIMEOUT))
        try:
            channel.connect(address)
        except (ConnectionRefusedError, FileNotFoundError):
            channel.close()
            return None
        except PermissionError as error:
            channel.close()
            raise RookeryError(
                Cause.DENIED, f"{path}: only the owner of the site may do this; run the command as that user"
            ) from error
        except OSError as error:
            channel.close()
            raise RookeryError(Cause.UNAVAILABLE, f"{path}: {error.strerror or error}") from error
        finally:
            if folder is not None:
                os.close(folder)
        channel.settimeout(timeout)
        return channel

    def _alone(self, found: Operation, arguments: dict[str, object]) -> object:
        import asyncio

        from rookery.management.directory_parts import DirectoryParts
        from rookery.management.membership import has_directory_only, is_outpost, is_perimeter
        from rookery.management.outpost import Outpost
        from rookery.management.parts import Parts
        from rookery.management.perimeter import stopped_queue

        async def run() -> object:
            if is_perimeter(self.site):
                async with stopped_queue(self.site, self.config) as queue:
                    return await Outpost(self.site, self.config, queue=queue).run(found, arguments)
            if is_outpost(self.site):
                return await Outpost(self.site, self.config).run(found, arguments)
            if has_directory_only(self.site):
                directory = await DirectoryParts.open(self.site, self.config)
                try:
                    return await Outpost(self.site, self.config, parts=directory).run(found, arguments)
                finally:
                    await directory.close()
            parts = await Parts.open(self.site, self.config)
            try:
                return await found.run(parts, **arguments)
            finally:
                await parts.close()

        return asyncio.run(run())


def _awake(channel: socket.socket, timeout: float | None) -> bool:
    """A process that is stopped still gets connections from its kernel, and says nothing."""
    from rookery.management.operations.status import ping

    channel.settimeout(AWAKE)
    try:
        _ask(channel, by_function(ping), {})
    except RookeryError:
        return False
    channel.settimeout(timeout)
    return True


def _ask(channel: socket.socket, found: Operation, arguments: dict[str, object]) -> object:
    request = {"operation": found.name, "arguments": arguments}
    pieces = []
    try:
        channel.sendall(msgspec.json.encode(request) + b"\n")
        while piece := channel.recv(CHUNK):
            pieces.append(piece)
            if piece.endswith(b"\n"):
                break
    except TimeoutError as error:
        raise RookeryError(Cause.UNAVAILABLE, "the node runs but does not answer in time; see its log") from error
    except OSError as error:
        raise RookeryError(
            Cause.UNAVAILABLE, f"the node went away: {error.strerror or error}; see its log, then try again"
        ) from error
    data = b"".join(pieces)
    if not data.endswith(b"\n"):
        raise RookeryError(Cause.UNAVAILABLE, "the node ended without an answer; see its log, then try again")
    return decode_answer(data, found)


def decode_answer(data: bytes, found: Operation) -> object:
    answer = msgspec.json.decode(data, type=Answer)
    if answer.refused is not None:
        raise RookeryError(answer.refused.cause, answer.refused.what)
    try:
        return msgspec.json.decode(answer.result, type=found.result)
    except msgspec.ValidationError as error:
        raise RookeryError(
            Cause.UNSUPPORTED, f"the node is of another release than this command and should be restarted ({error})"
        ) from error
