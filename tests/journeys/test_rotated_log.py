"""A rotated log is reopened at SIGHUP, whatever is wrong with the settings."""

from pathlib import Path

from tests.journeys.site import RunningSite
from tests.journeys.waiting import wait_until


def test_a_refused_reload_goes_into_the_new_file(tmp_path: Path) -> None:
    site = RunningSite(tmp_path / "site")
    site.init()
    site.configure(log__file='"rookery.log"')
    site.start()
    try:
        log, rotated = site.folder / "rookery.log", site.folder / "rookery.log.1"
        log.rename(rotated)
        site.configure(smtp__recipients='"many"')
        site.reload()
        wait_until(lambda: log.exists() and "reload-refused" in log.read_text(), "the refusal, in the new file")
        assert " ready " in rotated.read_text()
        assert "reload-refused" not in rotated.read_text()
    finally:
        site.kill()
