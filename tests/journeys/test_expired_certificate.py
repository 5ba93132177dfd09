"""A node with an expired certificate starts, serves, takes up the next one, and says so wherever somebody may look."""

import datetime
import smtplib
import urllib.request
from pathlib import Path

from rookery.management.certificates import SELF_SIGNED_DAYS, make_self_signed
from tests.journeys.site import RunningSite
from tests.journeys.waiting import wait_until


def test_mail_goes_on_loudly(tmp_path: Path) -> None:
    site = RunningSite(tmp_path / "site")
    site.init()
    pair = site.folder / "tls" / "cert.pem", site.folder / "tls" / "key.pem"
    good = [path.read_bytes() for path in pair]
    for path in pair:
        path.unlink()
    now = datetime.datetime.now(datetime.UTC)
    make_self_signed(*pair, [site.hostname, site.domain], now - datetime.timedelta(days=SELF_SIGNED_DAYS + 1))
    assert "found EXPIRED on" in site.rookery("check").stderr
    site.start()
    try:
        with smtplib.SMTP("127.0.0.1", site.ports["smtp"], timeout=30) as client:
            assert client.starttls()[0] == 220
            assert client.noop()[0] == 250
        told = site.rookery("health")
        assert told.stdout == "healthy\n"
        assert "found EXPIRED on" in told.stderr
        with urllib.request.urlopen(f"http://127.0.0.1:{site.ports['http']}/healthz", timeout=10) as answer:
            first, second = answer.read().decode().splitlines()
        assert first == "ok"
        assert "found EXPIRED on" in second
        assert " warning node check " in site.log_text()
        for path, data in zip(pair, good, strict=True):
            path.write_bytes(data)
        site.reload()
        wait_until(lambda: " reloaded " in site.log_text(), "the reload")
        assert site.rookery("health").stderr == ""
    finally:
        site.kill()
