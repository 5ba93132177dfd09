"""A site of real processes for journeys: made by `rookery init`, served by `rookery serve`, driven from outside.

def test_it(site: RunningSite) -> None:
    site.ports["imap"], site.passwords["alice@example.test"]
    site.rookery("queue", "list", "--json").stdout
    site.kill(); site.start()
"""

import json
import os
import random
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

DOMAIN = "example.test"
HOSTNAME = "mail.example.test"
STANDARD_PORTS = {
    "smtp": 25,
    "submission": 587,
    "submissions": 465,
    "lmtp": 24,
    "imap": 143,
    "imaps": 993,
    "http": 9464,
    "cluster": 7143,
    "join": 7144,
}
READY_TIME = 30.0  # seconds to wait for `ready`; a busy machine starts slowly
STOP_TIME = 30.0
COMMAND_TIME = 120.0
ROOKERY = [sys.executable, "-m", "rookery"]


def free_port_offset() -> int:
    """An offset at which every standard port is free now, on IPv4 and IPv6, below the ports that clients get."""
    for offset in random.sample(range(10_000, 23_000, 7), 200):
        if all(_free(port + offset) for port in STANDARD_PORTS.values()):
            return offset
    raise RuntimeError("no free range of ports")


def _free(port: int) -> bool:
    for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((address, port))
            except OSError:
                return False
    return True


class RunningSite:
    """One site and, between `start` and `stop` or `kill`, its node."""

    def __init__(self, folder: Path, *, domain: str = DOMAIN, hostname: str = HOSTNAME) -> None:
        self.folder = folder
        self.domain = domain
        self.hostname = hostname
        self.take_ports()
        self.passwords: dict[str, str] = {}
        self.process: subprocess.Popen[bytes] | None = None
        self.log_file = folder.parent / f"{folder.name}.log"

    def take_ports(self) -> None:
        """Such as nobody has now."""
        self.offset = free_port_offset()
        self.ports = {name: port + self.offset for name, port in STANDARD_PORTS.items()}

    # --- making and changing ---

    def init(self) -> None:
        names = ["--domain", self.domain, "--hostname", self.hostname]
        run(["init", str(self.folder), *names, "--port-offset", str(self.offset)])

    def configure(self, **settings: str) -> None:
        """Set settings as TOML text, by "section__name": configure(limits__connections="50")."""
        file = self.folder / "rookery.toml"
        lines = file.read_text().split("\n")
        for key, value in settings.items():
            section, _, name = key.partition("__")
            start = lines.index(f"[{section}]")
            for number in range(start + 1, len(lines)):
                if lines[number].lstrip("#").startswith(f"{name} = "):
                    lines[number] = f"{name} = {value}"
                    break
                assert not lines[number].startswith("["), f"no setting {key}"
        file.write_text("\n".join(lines))

    def add_account(self, name: str, password: str | None = None, *options: str) -> str:
        """Returns the address; the password is in `passwords`."""
        address = name if "@" in name else f"{name}@{self.domain}"
        self.passwords[address] = password or f"secret of {name}"
        self.rookery("account", "add", address, "--password-file", "-", *options, text=self.passwords[address] + "\n")
        return address

    # --- the node ---

    def start(self, *, environment: dict[str, str] | None = None) -> None:
        """Serve, and return once the node has printed `ready`."""
        assert self.process is None, "it is running"
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                [*ROOKERY, "--site", str(self.folder), "serve"],
                stdout=subprocess.PIPE,
                stderr=log,
                env=os.environ | (environment or {}),
            )
        self.wait_for_line("ready")

    def wait_for_line(self, line: str) -> str:
        """Returns everything printed up to and with that line."""
        assert self.process is not None
        assert self.process.stdout is not None
        end, text = time.monotonic() + READY_TIME, b""
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            while line.encode() + b"\n" not in b"\n" + text:
                if not selector.select(max(0.0, end - time.monotonic())):
                    raise TimeoutError(f"no line {line!r} within {READY_TIME} s:\n{self.log_text()[-4000:]}")
                piece = os.read(self.process.stdout.fileno(), 4096)
                if not piece:
                    code = self.process.wait()
                    self.process = None
                    raise RuntimeError(f"rookery serve ended with {code}:\n{self.log_text()[-4000:]}")
                text += piece
        return text.decode()

    def stop(self) -> int:
        """SIGTERM, and wait until it has drained; returns the exit code."""
        return self._end(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL: the process is gone between two instructions."""
        self._end(signal.SIGKILL)

    def reload(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGHUP)

    def restart(self) -> None:
        self.stop()
        self.start()

    def _end(self, number: signal.Signals) -> int:
        if self.process is None:
            return 0
        process, self.process = self.process, None
        process.send_signal(number)
        try:
            return process.wait(STOP_TIME)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise TimeoutError(f"it did not end:\n{self.log_text()[-4000:]}") from None
        finally:
            if process.stdout is not None:
                process.stdout.close()

    # --- commands ---

    def rookery(self, *arguments: str, text: str = "", code: int = 0) -> subprocess.CompletedProcess[str]:
        """Run `rookery --site ... ARGUMENTS`; its exit code must be `code`."""
        return run(["--site", str(self.folder), *arguments], text=text, code=code)

    def json(self, *arguments: str) -> Any:
        return json.loads(self.rookery(*arguments, "--json").stdout)

    def log_text(self) -> str:
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""


def run(arguments: Sequence[str], *, text: str = "", code: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [*ROOKERY, *arguments], input=text, capture_output=True, text=True, timeout=COMMAND_TIME, check=False
    )
    assert done.returncode == code, (
        f"rookery {' '.join(arguments)} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
    )
    return done
