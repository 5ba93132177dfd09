"""Making a new site: `rookery init`; on PostgreSQL one that makes, or joins, a dynamic pool."""

import asyncio
import datetime
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from rookery.base.clock import SystemClock
from rookery.base.config import Config
from rookery.base.config.kinds import LISTEN_ADDRESS, NAME, parse_host_name
from rookery.base.errors import Cause, RookeryError
from rookery.distribution.auth.hasher import Hasher
from rookery.distribution.directory.administration import Administration
from rookery.management.certificates import make_self_signed
from rookery.management.keeping import open_accounts
from rookery.management.parts import Parts, directory_settings
from rookery.management.site import Site, make_folders, open_site, refuse_in_use, write_config
from rookery.storage.gate import Gate

PORT_OFFSET_LIMIT = 55_000  # leaves room for the highest standard port


def initialise(
    folder: Path, *, domain: str, hostname: str, port_offset: int, settings: Mapping[str, object] | None = None
) -> Site:
    """A site ready to serve: settings, certificate, empty store, the domain. Raises RookeryError: EXISTS, INVALID.

    `settings`: more of them, typed, by key.
    """
    domain, hostname = _name(domain, "--domain"), _name(hostname, "--hostname")
    if not 0 <= port_offset <= PORT_OFFSET_LIMIT:
        raise RookeryError(Cause.INVALID, f"--port-offset {port_offset}: expected 0 to {PORT_OFFSET_LIMIT}")
    refuse_in_use(folder)
    existed = folder.exists()
    try:
        return _make(folder, domain, hostname, port_offset, settings or {})
    except BaseException:
        # half a site would only be in the way of the next attempt
        for entry in list(folder.iterdir()) if folder.is_dir() else []:
            if entry.is_dir():
                shutil.rmtree(entry)
            else:
                entry.unlink()
        if not existed and folder.is_dir():
            folder.rmdir()
        raise


def _make(folder: Path, domain: str, hostname: str, port_offset: int, settings: Mapping[str, object]) -> Site:
    try:
        site = make_folders(folder)
    except OSError as error:
        raise RookeryError(Cause.DENIED, f"{folder} cannot be made: {error.strerror or error}") from error
    given = {"site.domain": domain, "site.hostname": hostname, "listen.port_offset": port_offset}
    write_config(site, given | dict(settings))
    names = [hostname] if hostname == domain else [hostname, domain]
    make_self_signed(site.tls / "cert.pem", site.tls / "key.pem", names, datetime.datetime.now(datetime.UTC))
    asyncio.run(_first_opening(*open_site(site.folder), domain))
    return site


async def _first_opening(site: Site, config: Config, domain: str) -> None:
    if config.directory.database:
        await _join(site, config, domain)
        return
    if config.directory.replica:  # the domain comes with the copy
        return
    parts = await Parts.open(site, config)
    try:
        await parts.administration.add_domain(domain)
    finally:
        await parts.close()


async def _join(site: Site, config: Config, domain: str) -> None:
    """The domain, unless it is there: then somebody has made the pool, and this site is one more of it."""
    hasher = Hasher(1)
    directory = open_accounts(
        site, config, clock=SystemClock(), gate=Gate(), hasher=hasher, settings=directory_settings(config)
    )
    try:
        await Administration(directory).add_domain(domain)
    except RookeryError as error:
        if error.cause is not Cause.EXISTS:
            raise
    finally:
        await directory.close()
        hasher.close()


def pool_settings(database: str, backends: Sequence[str]) -> dict[str, object]:
    """The settings of a dynamic pool. `backends`: each "NAME=ADDRESS". Raises RookeryError: also when the database
    will not do."""
    if not database:
        if backends:
            raise RookeryError(Cause.INVALID, "--backend: several backends share a database; give --database too")
        return {}
    named = tuple(_backend(text) for text in backends)
    for what, values in (("a name", [name for name, _ in named]), ("an address", [host for _, host in named])):
        if len(set(values)) < len(values):
            raise RookeryError(Cause.INVALID, f"--backend: each needs {what} of its own")
    from rookery.management.operations.database import examine  # needs a database client

    wrong = [str(one) for one in examine(database) if not one.warning]
    if wrong:
        raise RookeryError(Cause.INVALID, "\n".join(f"--database: {one}" for one in wrong))
    shared: dict[str, object] = {f"{section}.database": database for section in ("store", "directory", "queue")}
    return shared | ({"store.backends": named} if named else {})


def _backend(text: str) -> tuple[str, str]:
    name, _, address = text.partition("=")
    try:
        return NAME.read(name), LISTEN_ADDRESS.read(address)
    except ValueError as error:
        raise RookeryError(Cause.INVALID, f"--backend {text!r}: expected NAME=ADDRESS, as b1=192.0.2.1") from error


def _name(text: str, option: str) -> str:
    try:
        return parse_host_name(text)
    except ValueError as error:
        raise RookeryError(Cause.INVALID, f"{option} {text!r}: {error}") from error
