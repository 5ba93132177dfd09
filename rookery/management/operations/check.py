"""Everything that can be wrong with a site's settings before it serves, all at once."""

import datetime
import pwd
from ipaddress import ip_address
from pathlib import Path

from rookery.base.config import Config, Problem
from rookery.base.config.load import line_numbers
from rookery.base.errors import RookeryError
from rookery.management import bodies
from rookery.management.site import CONFIG_NAME, Site

LISTENERS = ("smtp", "submission", "submissions", "lmtp", "imap", "imaps")
PORT_LIMIT = 65535


def check_site(folder: Path, *, now: float) -> list[Problem]:
    """Problems of the file, of settings together, and of the certificate; warnings among them. `now`: seconds UTC."""
    site = Site(folder.absolute())
    if not site.config_file.is_file():
        return [Problem(str(folder), 0, "", f"no {CONFIG_NAME}", "make a site with `rookery init`")]
    config, problems = site.load()
    problems += check_settings(site, config)
    problems += check_tls(site, config, now)
    problems += check_member(site, config, now)
    problems += check_databases(site, config)
    problems += check_bodies(site, config)
    return problems


def check_databases(site: Site, config: Config) -> list[Problem]:
    """What the servers say of themselves; asked by the command only, for a node may start before its database."""
    keys = {key: getattr(config, key).database for key in ("store", "directory", "queue")}
    found: dict[str, tuple[str, ...]] = {}
    for section, uri in keys.items():
        if uri:
            found[uri] = (*found.get(uri, ()), f"{section}.database")
    if not found:
        return []
    from rookery.management.operations.database import examine  # needs a database client

    lines = line_numbers(site.config_file.read_text(encoding="utf-8"))
    return [
        Problem(
            str(site.config_file), lines.get(sharing[0], 0), ", ".join(sharing), one.found, f"expected {one.expected}",
            one.warning,
        )
        for uri, sharing in found.items()
        for one in examine(uri)
    ]  # fmt: skip


def check_bodies(site: Site, config: Config) -> list[Problem]:
    """Whether bodies can be written where they are to be; asked by the command only, as the databases."""
    said = bodies.examine(site, config)
    if said is None:
        return []
    line = line_numbers(site.config_file.read_text(encoding="utf-8")).get("store.blobs", 0)
    return [Problem(str(site.config_file), line, "store.blobs", said, "expected a place where bodies can be written")]


def check_member(site: Site, config: Config, now: float) -> list[Problem]:
    """Of a node of a cluster: its certificate there, and whom it asks."""
    if not (site.folder / "cluster").is_dir():
        return []
    from rookery.management.membership import files, is_outpost  # loads what only members need

    folder, found = files(site).folder, []
    try:
        state = files(site).state()
    except RookeryError as error:
        return [Problem(str(folder), 0, "", error.what, "")]
    if state is None:
        return []
    if now >= state.member.ends:
        ended = "the node's certificate in the cluster has ended"
        found.append(
            Problem(str(files(site).node), 0, "", ended, "when it runs, it asks cluster.authority for another", True)
        )
    if is_outpost(site) and not config.cluster.directory and not config.cluster.upstream:
        lines = line_numbers(site.config_file.read_text(encoding="utf-8"))
        line = lines.get("cluster.directory", 0)
        expected = "expected the cluster ports of directory nodes, which a node without accounts asks"
        found.append(Problem(str(site.config_file), line, "cluster.directory", "[]", expected))
    return found


def check_tls(site: Site, config: Config, now: float) -> list[Problem]:
    from rookery.management.certificates import check as check_certificate  # a large library, and only needed here

    return check_certificate(
        site.path(config.tls.certificate),
        site.path(config.tls.key),
        [config.site.hostname, *config.tls.names],
        datetime.datetime.fromtimestamp(now, datetime.UTC),
    )


def check_settings(site: Site, config: Config) -> list[Problem]:
    """What single values cannot show: ports that meet, users and folders that are not there."""
    found: list[tuple[str, str, str]] = []  # key, found, expected
    taken: dict[int, str] = {}
    for name, port in ports(config).items():
        key = "http.port" if name == "http" else f"listen.{name}"
        if port > PORT_LIMIT:
            found.append((key, str(port), f"at most {PORT_LIMIT}, listen.port_offset included"))
        elif port in taken:
            found.append((key, str(port), f"another port than {taken[port]}"))
        taken.setdefault(port, key)
    if config.site.user and not _is_user(config.site.user):
        found.append(("site.user", config.site.user, "a user of this machine"))
    if config.log.file and not site.path(config.log.file).parent.is_dir():
        found.append(("log.file", config.log.file, "a file in a folder that exists"))
    limits = config.limits
    if limits.before_login > limits.connections_per_address:
        most = f"at most limits.connections_per_address, {limits.connections_per_address}"
        found.append(("limits.before_login", str(limits.before_login), most))
    found += _pool_problems(config)
    found += _replica_problems(config)
    found += bodies.problems(config)
    lines = line_numbers(site.config_file.read_text(encoding="utf-8")) if found else {}
    return [
        Problem(str(site.config_file), lines.get(key, 0), key, shown, f"expected {expected}")
        for key, shown, expected in found
    ]


def _replica_problems(config: Config) -> list[tuple[str, str, str]]:
    """key, found, expected"""
    if not config.directory.replica:
        return []
    found = []
    if config.directory.database:
        found.append(("directory.replica", "true", "false, with directory.database"))
    if not config.cluster.directory:
        found.append(("cluster.directory", "[]", "the cluster port of the directory's primary, for directory.replica"))
    return found


def _pool_problems(config: Config) -> list[tuple[str, str, str]]:
    """key, found, expected"""
    backends = config.store.backends
    found = []
    if config.store.database:
        reached = backends or ((config.site.hostname, config.listen.addresses[0]),)
        key = "store.backends" if backends else "listen.addresses"
        for name, address in reached:
            if ip_address(address).is_unspecified:
                found.append((key, f"{address} of {name}", "an address by which clients and other backends reach it"))
    if not backends:
        return found
    if config.cluster.announce:
        found.append(("cluster.announce", str(config.cluster.announce), '"", for each of store.backends is elsewhere'))
    for section in ("store", "directory", "queue"):
        if not getattr(config, section).database:
            found.append((f"{section}.database", '""', "a database: the backends of store.backends share it"))
    addresses = [address for _, address in backends]
    for address in sorted({one for one in addresses if addresses.count(one) > 1}):
        names = ", ".join(name for name, one in backends if one == address)
        found.append(("store.backends", f"{address} of {names}", "an address of its own for each"))
    return found


def _is_user(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


def ports(config: Config) -> dict[str, int]:
    """The ports that are opened, by listener, offset included."""
    listen = config.listen
    wanted = {name: getattr(listen, name) for name in LISTENERS} | {"http": config.http.port}
    return {name: port + listen.port_offset for name, port in wanted.items() if port}
