"""A site's folder: what may become one, and what `check` says about its settings."""

import time
from pathlib import Path

import pytest

from rookery.base.errors import Cause, RookeryError
from rookery.management.certificates import make_self_signed
from rookery.management.operations.check import check_site
from rookery.management.operations.unit import unit_text
from rookery.management.site import Site, make_folders, open_site, refuse_in_use, write_config


@pytest.fixture
def site(tmp_path: Path) -> Site:
    import datetime

    made = make_folders(tmp_path / "site")
    write_config(made, {"site.hostname": "mail.example.test", "listen.port_offset": 10_000})
    make_self_signed(
        made.tls / "cert.pem", made.tls / "key.pem", ["mail.example.test"], datetime.datetime.now(datetime.UTC)
    )
    return made


def change(site: Site, old: str, new: str) -> None:
    text = site.config_file.read_text()
    assert old in text
    site.config_file.write_text(text.replace(old, new))


def test_a_folder_in_use_is_refused(tmp_path: Path) -> None:
    refuse_in_use(tmp_path / "new")
    refuse_in_use(tmp_path)
    (tmp_path / "a").write_text("")
    for folder, what in ((tmp_path, "it holds a"), (tmp_path / "a", "not a folder")):
        with pytest.raises(RookeryError, match=what) as caught:
            refuse_in_use(folder)
        assert caught.value.cause is Cause.EXISTS


def test_a_new_site_is_right(site: Site) -> None:
    assert check_site(site.folder, now=time.time()) == []
    opened, config = open_site(site.folder)
    assert opened == site
    assert (config.site.domain, config.site.hostname) == ("example.test", "mail.example.test")
    for part in (site.folder, site.store, site.keys, site.tls):
        assert part.stat().st_mode & 0o777 == 0o700


def test_no_site(tmp_path: Path) -> None:
    with pytest.raises(RookeryError, match="is not a site"):
        open_site(tmp_path)
    assert "found no rookery.toml" in str(check_site(tmp_path, now=0)[0])


def test_wrong_settings_are_all_in_the_error(site: Site) -> None:
    change(site, "#smtp = 25", "smpt = 25\nimap = 70000")
    with pytest.raises(RookeryError) as caught:
        open_site(site.folder)
    assert len(caught.value.what.split("\n")) == 2


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("port_offset = 10000", "port_offset = 65000", "listen.submission: found 65587, expected at most 65535"),
        ("#imap = 143", "imap = 993", "listen.imaps: found 10993, expected another port than listen.imap"),
        ('#user = ""', 'user = "no-such-user"', "site.user: found no-such-user, expected a user of this machine"),
        ('#file = ""', 'file = "no/log"', "log.file: found no/log, expected a file in a folder that exists"),
        ("#before_login = 10", "before_login = 200", "limits.before_login: found 200, expected at most"),
        ("#names = []", 'names = ["example.test"]', "expected a certificate for example.test"),
    ],
)
def test_what_only_the_whole_shows(site: Site, old: str, new: str, expected: str) -> None:
    change(site, old, new)
    problems = [str(problem) for problem in check_site(site.folder, now=time.time())]
    assert any(expected in problem for problem in problems), problems
    if "tls" not in problems[0]:
        line = site.config_file.read_text().split("\n").index(new.split("\n")[0]) + 1
        assert any(f"rookery.toml:{line}" in problem for problem in problems) or "imaps" in expected or "offset" in old


def test_the_unit_is_hardened() -> None:
    text = unit_text(program=Path("/opt/rookery/bin/rookery"), user="rookery")
    for line in (
        "ExecStart=/opt/rookery/bin/rookery serve",
        "Environment=ROOKERY_SITE=/var/lib/rookery",
        "User=rookery",
        "AmbientCapabilities=CAP_NET_BIND_SERVICE",
        "CapabilityBoundingSet=CAP_NET_BIND_SERVICE",
        "NoNewPrivileges=yes",
        "ProtectSystem=strict",
        "ConfigurationDirectory=rookery",
        "StateDirectory=rookery",
        "RuntimeDirectory=rookery",
        "StartLimitIntervalSec=0",  # the machine of the database may need minutes more than this one
    ):
        assert f"\n{line}\n" in text


@pytest.mark.parametrize("user", ["foo;bar", "", "a b", "1st", "-x", "Rookery", "a" * 32, "a\nExecStart=/bin/sh", "%i"])
def test_a_unit_for_no_user_name(user: str) -> None:
    with pytest.raises(RookeryError, match="expected the name of a system user") as caught:
        unit_text(program=Path("/opt/rookery/bin/rookery"), user=user)
    assert caught.value.cause is Cause.INVALID


@pytest.mark.parametrize(
    "path", ["bin/rookery", "/opt/my mail/rookery", "/opt/%h", "/opt/$HOME", "/opt/a;b", '/o"', "/\n"]
)
def test_a_unit_for_no_path(path: str) -> None:
    with pytest.raises(RookeryError, match="cannot stand in a unit"):
        unit_text(program=Path(path), user="rookery")
