"""The pages for administrators: every `rookery` command in them runs, on a real site, in the order of the page."""

import re
import shlex
from pathlib import Path

import pytest

from tests.journeys.site import RunningSite, run

DOCS = Path(__file__).parents[2] / "docs"
PLACES = {"/var/lib/rookery": "{site}", "/var/backups/rookery-1": "{tmp}/backup", "carol.txt": "{tmp}/carol.txt"}


def commands(page: str) -> list[str]:
    """Lines of shell blocks that call rookery."""
    blocks = re.findall(r"```sh\n(.*?)```", (DOCS / page).read_text(), re.DOTALL)
    return [line.strip() for block in blocks for line in block.split("\n") if line.strip().startswith("rookery ")]


def test_operating(site: RunningSite, tmp_path: Path) -> None:
    (tmp_path / "carol.txt").write_text("secret of carol\n")
    people = tmp_path / "people.csv"
    people.write_text("dora@example.test,secret,2GB\n")
    found = commands("operate.md")
    assert len(found) > 20
    for command in found:
        for place, ours in PLACES.items():
            command = command.replace(place, ours.format(site=site.folder, tmp=tmp_path))
        run(shlex.split(command.replace("people.csv", str(people)))[1:])


def test_installing(tmp_path: Path) -> None:
    folder = tmp_path / "rookery"
    for command in commands("install.md"):
        command, _, target = command.replace("/var/lib/rookery", str(folder)).partition(" > ")
        done = run(shlex.split(command)[1:], text="secret of alice\n")
        if target:
            assert "[Service]" in done.stdout
    assert run(["--site", str(folder), "check"]).stdout == "Nothing is wrong.\n"


@pytest.mark.parametrize("page", sorted(path.name for path in DOCS.glob("*.md")))
def test_links_lead_somewhere(page: str) -> None:
    text = (DOCS / page).read_text()
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
        assert (DOCS / target).exists(), f"{page} links to {target}"
