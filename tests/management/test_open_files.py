"""How many files a node may open, and when it says that they are too few."""

import resource

import pytest

from rookery.base.config import Config
from rookery.base.log import captured
from rookery.management.privileges import FILES_BESIDES, allow_open_files

COMMON_LIMIT = 20_000  # of open files, where somebody set one with connections in mind


@pytest.mark.parametrize(("limit", "told"), [(COMMON_LIMIT, 0), (resource.RLIM_INFINITY, 0), (4096, 1)])
def test_the_default_connections_fit_into_a_common_limit(
    monkeypatch: pytest.MonkeyPatch, limit: int, told: int
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda which: (limit, limit))
    with captured() as events:
        allow_open_files(Config().limits.connections)
    assert len(events) == told


def test_one_below_is_too_few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda which: (999 + FILES_BESIDES, 999 + FILES_BESIDES))
    with captured() as events:
        allow_open_files(999)
        allow_open_files(1000)
    assert [event for _, event, _ in events] == ["open-files"]
