"""Where the log of a node goes."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from rookery.base import log
from rookery.management.node_log import reopen_log


@pytest.fixture
def file(tmp_path: Path) -> Iterator[Path]:
    made = tmp_path / "logs" / "node.log"
    made.parent.mkdir()
    log.direct(log.Format.TEXT, made)
    yield made
    log.flush()
    log.direct(log.Format.TEXT, None)


def test_a_rotated_file_is_reopened(file: Path) -> None:
    log.logger("node").info("before")
    file.rename(file.with_suffix(".1"))
    reopen_log()
    log.logger("node").info("after")
    log.flush()
    assert " before" in file.with_suffix(".1").read_text()
    assert " after" in file.read_text()
    assert " before" not in file.read_text()


def test_a_file_that_cannot_be_reopened_stays(file: Path) -> None:
    moved = file.parent.rename(file.parent.with_name("moved"))
    reopen_log()
    log.flush()
    assert "log-not-reopened" in (moved / file.name).read_text()
    shutil.rmtree(moved)
