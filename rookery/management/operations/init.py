"""Making a new site: `rookery init`."""

import asyncio
import datetime
import shutil
from collections.abc import Mapping
from pathlib import Path

from rookery.base.config import Config
from rookery.base.config.kinds import parse_host_name
from rookery.base.errors import Cause, RookeryError
from rookery.management.certificates import make_self_signed
from rookery.management.parts import Parts
from rookery.management.site import Site, make_folders, open_site, refuse_in_use, write_config

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
    parts = await Parts.open(site, config)
    try:
        await parts.administration.add_domain(domain)
    finally:
        await parts.close()


def _name(text: str, option: str) -> str:
    try:
        return parse_host_name(text)
    except ValueError as error:
        raise RookeryError(Cause.INVALID, f"{option} {text!r}: {error}") from error
