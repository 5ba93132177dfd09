"""Everything that can be wrong with a site's settings before it serves, all at once."""

import datetime
import pwd
from pathlib import Path

from rookery.base.config import Config, Problem
from rookery.management.certificates import check as check_certificate
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
    return problems


def check_tls(site: Site, config: Config, now: float) -> list[Problem]:
    return check_certificate(
        site.path(config.tls.certificate),
        site.path(config.tls.key),
        [config.site.hostname, *config.tls.names],
        datetime.datetime.fromtimestamp(now, datetime.UTC),
    )


def check_settings(site: Site, config: Config) -> list[Problem]:
    """What single values cannot show: ports that meet, users and folders that are not there."""
    file, problems = str(site.config_file), []
    taken: dict[int, str] = {}
    for name, port in ports(config).items():
        key = "http.port" if name == "http" else f"listen.{name}"
        if port > PORT_LIMIT:
            problems.append(
                Problem(file, 0, key, str(port), f"expected at most {PORT_LIMIT}, listen.port_offset included")
            )
        elif port in taken:
            problems.append(Problem(file, 0, key, str(port), f"expected another port than {taken[port]}"))
        taken.setdefault(port, key)
    if config.site.user:
        try:
            pwd.getpwnam(config.site.user)
        except KeyError:
            problems.append(Problem(file, 0, "site.user", config.site.user, "expected a user of this machine"))
    if config.log.file and not site.path(config.log.file).parent.is_dir():
        problems.append(Problem(file, 0, "log.file", config.log.file, "expected a file in a folder that exists"))
    if config.limits.before_login > config.limits.connections_per_address:
        problems.append(
            Problem(
                file,
                0,
                "limits.before_login",
                str(config.limits.before_login),
                f"expected at most limits.connections_per_address, {config.limits.connections_per_address}",
            )
        )
    return problems


def ports(config: Config) -> dict[str, int]:
    """The ports that are opened, by listener, offset included."""
    listen = config.listen
    wanted = {name: getattr(listen, name) for name in LISTENERS} | {"http": config.http.port}
    return {name: port + listen.port_offset for name, port in wanted.items() if port}
