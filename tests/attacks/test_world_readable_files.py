"""Nothing of a site can be read by others, whatever the umask of who runs the command."""

import os
import subprocess
import sys
from pathlib import Path


def test_every_file_of_a_new_site_is_its_owners(tmp_path: Path) -> None:
    site = tmp_path / "site"
    site.mkdir(mode=0o777)
    site.chmod(0o777)
    command = [sys.executable, "-m", "rookery"]
    init = [*command, "init", str(site), "--domain", "d.test", "--hostname", "h.test", "--port-offset", "2000"]
    subprocess.run(init, check=True, umask=0, capture_output=True)
    add = [*command, "--site", str(site), "account", "add", "a@d.test", "--password-file", "-"]
    subprocess.run(add, check=True, umask=0, capture_output=True, input=b"secret words\n")
    open_ = [str(path) for path in [site, *site.rglob("*")] if os.stat(path).st_mode & 0o077]
    assert open_ == []
