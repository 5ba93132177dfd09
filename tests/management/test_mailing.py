"""Settings of the mail's ways, as they reach the parts."""

from pathlib import Path

import pytest

from rookery.management.mailing import smarthost
from rookery.management.site import make_folders, open_site, write_config


@pytest.mark.parametrize(("port", "implicit"), [(25, False), (587, False), (465, True)])
def test_a_smarthost_on_port_465_has_tls_from_the_first_octet(tmp_path: Path, port: int, implicit: bool) -> None:
    site = make_folders(tmp_path / "site")
    write_config(site, {"site.domain": "example.test", "queue.smarthost": f"smart.test:{port}"})
    found = smarthost(*open_site(site.folder))
    assert found is not None
    assert (found.port, found.implicit_tls) == (port, implicit)
