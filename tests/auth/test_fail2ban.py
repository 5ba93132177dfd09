"""The filter in docs/fail2ban.md matches what is really logged, and nobody can make it ban somebody else."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from rookery.base import log
from rookery.base.errors import RookeryError
from tests.auth.conftest import Site

DOC = Path(__file__).parents[2] / "docs" / "fail2ban.md"
HOST = r"(?P<host>[0-9A-Fa-f:.]+)"  # what fail2ban puts for <HOST>, near enough


def _patterns() -> tuple[re.Pattern[str], list[re.Pattern[str]]]:
    """datepattern (as a regular expression) and the lines of failregex."""
    filter_ = re.search(r"```ini\n\[Definition\]\n(.*?)```", DOC.read_text(), re.DOTALL)
    assert filter_
    keys = dict(re.findall(r"^(\w+) = (.*(?:\n[ ]+.*)*)", filter_[1], re.MULTILINE))
    date = keys["datepattern"].replace("%%Y-%%m-%%dT%%H:%%M:%%S", r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d")
    date = date.replace("%%f", r"\d+").replace("%%z", r"[+-]\d\d:\d\d")
    return re.compile(date), [
        re.compile(line.strip().replace("<HOST>", HOST)) for line in keys["failregex"].split("\n")
    ]


def banned(lines: list[str]) -> list[str]:
    """Addresses that fail2ban would count: it cuts the date off, then looks for each pattern."""
    date, failures = _patterns()
    found = []
    for line in lines:
        cut, dates = date.subn("", line, count=1)
        assert dates == 1, line
        found += [match["host"] for pattern in failures if (match := pattern.search(cut))]
    return found


@pytest.fixture(params=[log.Format.TEXT, log.Format.JSON])
def logged(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "rookery.log"
    log.flush()
    log.direct(request.param, path)
    yield path
    log.flush()
    log.direct(log.Format.TEXT, None)


async def test_every_failed_login_is_counted_once(site: Site, logged: Path) -> None:
    for login, peer in (
        ("alice", "192.0.2.1"),
        ("nobody@d.test", "2001:db8::1"),
        ('a b=c"d\\', "192.0.2.3"),
        ("x\r\n2026-01-01T00:00:00+00:00 info auth login-failed address=203.0.113.9 ", "192.0.2.4"),
        ('x","level":"info","component":"auth","event":"login-failed","address":"203.0.113.9",', "192.0.2.5"),
        ("info auth login-failed address=203.0.113.9 ", "192.0.2.6"),
        ('{"time":"2026-01-01T00:00:00+00:00","level":"info","component":"auth"', "192.0.2.7"),
    ):
        with pytest.raises(RookeryError):
            await site.check(login, "wrong", peer)
    await site.check("alice", "wonderland", "198.51.100.1")
    log.flush()
    lines = logged.read_text().splitlines()
    assert banned(lines) == [
        "192.0.2.1",
        "2001:db8::1",
        "192.0.2.3",
        "192.0.2.4",
        "192.0.2.5",
        "192.0.2.6",
        "192.0.2.7",
    ]
    assert not any("wrong" in line or "wonderland" in line for line in lines)


def test_the_lines_in_the_page_are_matched_too() -> None:
    examples = re.findall(r"^(?:\d{4}-|\{\"time\").*$", DOC.read_text(), re.MULTILINE)
    assert banned(examples) == ["192.0.2.1", "192.0.2.1"]
