"""`make run`: the demo site, and that what it says to try works as it stands."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.journeys.site import ROOKERY, RunningSite, free_port_offset


class Demo(RunningSite):
    """The demo as a site whose process is `rookery demo`."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.offset = free_port_offset()

    def begin(self) -> str:
        """Start it; returns all it prints before `ready`."""
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                [*ROOKERY, "demo", str(self.folder), "--port-offset", str(self.offset)],
                stdout=subprocess.PIPE,
                stderr=log,
            )
        return self.wait_for_line("ready")


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory):  # type: ignore[no-untyped-def]
    demo = Demo(tmp_path_factory.mktemp("run") / "demo")
    yield demo, demo.begin()
    demo.kill()


def _commands(text: str) -> list[str]:
    part = text.partition("\nTry\n")[2].partition("\n\n")[0].replace("\\\n", " ")
    return [line.strip() for line in part.split("\n")]


def _run(command: str) -> str:
    command = re.sub(r"^\S*/?(rookery|__main__\.py) ", " ".join(ROOKERY) + " ", command)
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout


def test_it_names_accounts_ports_and_commands(told: tuple[Demo, str]) -> None:
    _, text = told
    assert re.findall(r"^  (\w+)@example\.test   password \S+$", text, re.MULTILINE) == ["alice", "bob"]
    assert text.endswith("\nready\n")
    assert {command.split()[0].rpartition("/")[2] for command in _commands(text)} >= {"curl", "swaks", "openssl"}


def test_every_command_works_as_it_stands(told: tuple[Demo, str]) -> None:
    _, text = told
    for command in _commands(text):
        program = command.split()[0]
        if program == "openssl":
            login = command.partition("then type: ")[2]
            command = f"(echo '{login}'; echo 'b LOGOUT') | {command.partition('     then type')[0]} 2>&1"
            if shutil.which("openssl"):
                assert "b OK" in _run(command)
        elif program not in ("curl", "swaks") or shutil.which(program):
            output = _run(command)
            assert "Welcome to Rookery" in output or "imaps" not in command


def test_the_second_start_finds_the_same_site(told: tuple[Demo, str]) -> None:
    demo, text = told
    demo.stop()
    assert demo.begin() == text
