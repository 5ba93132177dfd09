"""For all tests: journeys are marked by their folder, soaking waits for `-m soak`, passwords are
hashed cheaply, Hypothesis tries the same examples every time (`make fuzz` looks for new ones), and
what did not run is told."""

import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests import hashes

settings.register_profile("the same every time", derandomize=True, deadline=None)
settings.load_profile("the same every time")

_HERE = Path(__file__).parent


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    asked = str(config.getoption("-m"))
    kept, soaking = [], []
    for item in items:
        if item.path.is_relative_to(_HERE / "journeys"):
            item.add_marker("journey")
        (soaking if item.get_closest_marker("soak") and "soak" not in asked else kept).append(item)
    if soaking:
        config.hook.pytest_deselected(items=soaking)
        items[:] = kept


@pytest.fixture(scope="session", autouse=True)
def cheap_hashes() -> Iterator[None]:
    """In this process only: what journeys start costs what it costs."""
    with hashes.cheap():
        yield


def _skipped(reporter: pytest.TerminalReporter) -> Iterator[tuple[str, str]]:
    for report in reporter.stats.get("skipped", []):
        place = report.longrepr
        reason = place[2] if isinstance(place, tuple) else str(place)
        yield re.sub(r"^Skipped: ", "", reason), report.nodeid


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    by_reason: dict[str, list[str]] = defaultdict(list)
    for reason, name in _skipped(terminalreporter):
        by_reason[reason].append(name)
    if not by_reason:
        terminalreporter.write_line("Everything could run on this machine.")
        return
    terminalreporter.section("could not run on this machine")
    for reason, names in sorted(by_reason.items()):
        terminalreporter.write_line(f"{len(names)} because: {reason}")
        for name in names:
            terminalreporter.write_line(f"    {name}")
    terminalreporter.write_line(f"{sum(map(len, by_reason.values()))} tests could not run.")
