"""A wheel installs into an empty virtual environment, with the pinned versions, and runs."""

import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def _run(*command: str | Path, cwd: Path) -> str:
    # an empty environment of its own: nothing of this checkout may be on the path
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, so that nothing is left in the checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    copy = folder / "source"
    copy.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE", "constraints.txt"):
        (copy / name).write_bytes((ROOT / name).read_bytes())
    for path in (ROOT / "rookery").rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            target = copy / path.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    _run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, copy, cwd=folder)
    (found,) = folder.glob("*.whl")
    return found


def test_it_installs_and_runs(wheel: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "venv", with_pip=True)
    python, rookery = tmp_path / "venv" / "bin" / "python", tmp_path / "venv" / "bin" / "rookery"
    _run(python, "-m", "pip", "install", "--quiet", "--constraint", ROOT / "constraints.txt", wheel, cwd=tmp_path)
    assert _run(rookery, "--version", cwd=tmp_path).startswith("rookery ")
    _run(rookery, "init", tmp_path / "site", "--domain", "a.test", "--hostname", "mail.a.test", cwd=tmp_path)
    assert _run(rookery, "--site", tmp_path / "site", "check", cwd=tmp_path) == "Nothing is wrong.\n"
    assert "a.test" in _run(rookery, "--site", tmp_path / "site", "domain", "list", cwd=tmp_path)


def test_it_holds_the_program_and_nothing_else(wheel: Path) -> None:
    import zipfile

    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0].split("-")[0] for name in names} == {"rookery"}
    assert "rookery/py.typed" in names


def test_the_constraints_name_versions_and_no_addresses() -> None:
    for line in (ROOT / "constraints.txt").read_text().split("\n"):
        assert not line or line.startswith("#") or line.count("==") == 1
        assert "//" not in line
