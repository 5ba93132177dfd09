"""Fixtures for journeys: a site with accounts alice and bob at example.test, served by a real process."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.journeys.site import RunningSite


def _made(folder: Path) -> RunningSite:
    made = RunningSite(folder)
    made.init()
    made.start()
    made.add_account("alice")
    made.add_account("bob")
    return made


@pytest.fixture
def site(tmp_path: Path) -> Iterator[RunningSite]:
    """A site of the test's own."""
    made = _made(tmp_path / "site")
    yield made
    made.kill()


@pytest.fixture(scope="module")
def shared_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSite]:
    """One site for all tests of a file that do not mind each other."""
    made = _made(tmp_path_factory.mktemp("shared") / "site")
    yield made
    made.kill()
