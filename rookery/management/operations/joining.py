"""`rookery node join`: a folder becomes a frontend of a cluster, and holds no more than such a one needs."""

import asyncio
import datetime
from collections.abc import Sequence
from pathlib import Path

from rookery.base.config.kinds import parse_endpoint, parse_host_name
from rookery.base.errors import Cause, RookeryError
from rookery.base.members import Member
from rookery.distribution.cluster import tokens
from rookery.distribution.cluster.joining import join
from rookery.management.certificates import make_self_signed
from rookery.management.desk import ask
from rookery.management.membership import files
from rookery.management.site import Site, refuse_in_use, write_config

CLUSTER_PORT = 7143


async def join_as_frontend(
    folder: Path, token: str, *, directory: Sequence[str], hostname: str, domain: str, port_offset: int
) -> Member:
    """May be tried again. Raises RookeryError: EXISTS, INVALID, DENIED, UNAVAILABLE (the authority)."""
    parsed = tokens.parse(token)
    try:
        endpoints = tuple(parse_endpoint(text, CLUSTER_PORT) for text in directory)
        names = [parse_host_name(text) for text in (hostname, domain) if text]
    except ValueError as error:
        raise RookeryError(Cause.INVALID, str(error)) from error
    site = Site(folder.absolute())
    if not site.config_file.is_file():
        refuse_in_use(folder)
        await asyncio.to_thread(_prepare, site)
        settings: dict[str, object] = {
            "site.hostname": hostname,
            "listen.port_offset": port_offset,
            "cluster.directory": endpoints,
        }
        settings["cluster.authority"] = tuple(parse_endpoint(text, CLUSTER_PORT) for text in parsed.addresses)
        write_config(site, settings | ({"site.domain": domain} if domain else {}))
        now = datetime.datetime.now(datetime.UTC)
        make_self_signed(site.tls / "cert.pem", site.tls / "key.pem", names, now)
    return await join(parsed, files(site), ask)


def _prepare(site: Site) -> None:
    try:
        for part in (site.folder, site.tls):
            part.mkdir(mode=0o700, parents=part is site.folder, exist_ok=True)
        site.folder.chmod(0o700)
    except OSError as error:
        raise RookeryError(Cause.DENIED, f"{site.folder} cannot be made: {error.strerror or error}") from error
