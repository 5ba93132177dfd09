"""The command `rookery`. The composition root is loaded only when something is served, so that commands are quick."""

import os
import sys
from pathlib import Path

from rookery.management.cli.main import Programs
from rookery.management.cli.main import main as run


def _serve(folder: Path, backend: str) -> int:
    from rookery.app import serve

    return serve(folder, backend)


def _demo(folder: Path, port_offset: int) -> int:
    from rookery.app import demo

    return demo(folder, port_offset)


def main() -> int:
    os.umask(0o077)  # all that is written, databases too, is for the owner of the site alone
    return run(Programs(_serve, _demo))


if __name__ == "__main__":
    sys.exit(main())
