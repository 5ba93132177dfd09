"""The command line by itself: usage, exit codes, what is printed, and the pages made from it."""

from pathlib import Path

import pytest

from rookery.base.errors import RookeryError
from rookery.management.cli.account_commands import read_csv, read_password
from rookery.management.cli.main import Programs, command_tree, main
from rookery.management.cli.output import age, amount, moment, table
from rookery.management.docs import pages
from rookery.management.operations.accounts import ImportLine, ImportRefusal

ROOT = Path(__file__).parents[2]
served: list[Path] = []


def run(*arguments: str) -> int:
    def serve(folder: Path, backend: str) -> int:
        served.append(folder)
        return 7

    return main(Programs(serve, lambda folder, offset: 8), arguments)


@pytest.mark.parametrize("name", ["settings.md", "commands.md"])
def test_pages_made_from_the_code_are_up_to_date(name: str) -> None:
    assert (ROOT / "docs" / name).read_text() == pages()[name], "run `make docs`"


def test_exit_codes(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ROOKERY_SITE", raising=False)
    assert run("--version") == 0
    assert run("account", "--help") == 0
    assert run("no-such-command") == 2
    assert run("account", "add", "a@b") == 2  # no --password-file
    assert run("account", "list") == 2  # no site
    assert "--site DIR" in capsys.readouterr().err
    assert run("--site", str(tmp_path), "account", "list") == 1
    assert capsys.readouterr().err.startswith(f"rookery: {tmp_path} is not a site")
    assert run("--site", str(tmp_path), "serve") == 7
    assert served[-1] == tmp_path
    monkeypatch.setenv("ROOKERY_SITE", str(tmp_path / "x"))
    assert run("serve") == 7
    assert served[-1] == tmp_path / "x"
    assert run("demo", "d") == 8


@pytest.mark.parametrize(
    ("what", "options"),
    [
        ("account change a@b.test", "--name, --quota, --messages, --admin"),
        ("domain change b.test", "--add-alias, --remove-alias, --pool, --no-pool, --local or --shared"),
        ("group change a@b.test", "--add, --remove or --name"),
    ],
)
def test_a_change_of_nothing_names_its_options(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], what: str, options: str
) -> None:
    assert run("--site", str(tmp_path), *what.split()) == 2
    assert f"nothing to change: give {options}" in " ".join(capsys.readouterr().err.split())


def test_init_shows_canonical_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("init", str(tmp_path / "site"), "--domain", "X.TEST.", "--hostname", "Mail.X.test") == 0
    assert "account add NAME@x.test --password" in capsys.readouterr().out
    assert run("--site", str(tmp_path / "site"), "account", "add", "a@y.test", "--password-file", __file__) == 1
    assert capsys.readouterr().err == (
        "rookery: there is no domain y.test; add it with `rookery domain add`, or see `rookery domain list`\n"
    )


def test_every_family_is_in_the_tree_once() -> None:
    command_tree()
    names = [group.name for group in command_tree().registered_groups]
    assert len(names) == len(set(names)) > 4


def test_passwords_are_the_first_line(tmp_path: Path) -> None:
    file = tmp_path / "p"
    file.write_bytes(b"se cret\r\nmore\n")
    assert read_password(str(file)) == "se cret"
    for data, what in ((b"\n", "empty"), (b"\xff\n", "UTF-8")):
        file.write_bytes(data)
        with pytest.raises(RookeryError, match=what):
            read_password(str(file))
    with pytest.raises(RookeryError, match="No such file"):
        read_password(str(tmp_path / "none"))


def test_a_csv_file(tmp_path: Path) -> None:
    file = tmp_path / "people.csv"
    file.write_text(
        '\ufeffaddress,password,quota\r\na@b.test,secret,2GB\r\n\r\nc@d.test," a ""q"", b "\r\n,,\r\ne@f.test\r\n'
    )
    assert list(read_csv(file)) == [
        ImportLine(2, "a@b.test", "secret", "2GB"),
        ImportLine(4, "c@d.test", ' a "q", b '),
        ImportLine(6, "e@f.test", ""),
    ]
    file.write_text("a@b.test,x\n")
    assert list(read_csv(file)) == [ImportLine(1, "a@b.test", "x")]
    file.write_text('a@b.test,"x\nb@b.test,y,,z\nc@b.test,"y"z\nd@b.test,z\n')
    read = list(read_csv(file))
    assert [(line.line, line.address, type(line)) for line in read] == [
        (1, "a@b.test", ImportRefusal),
        (2, "b@b.test", ImportRefusal),
        (3, "c@b.test", ImportRefusal),
        (4, "d@b.test", ImportLine),
    ], "a line that is no CSV is named, and spoils no other"
    file.write_bytes(b"a@b.test,\xff\n")
    with pytest.raises(RookeryError, match="utf-8"):
        list(read_csv(file))


def test_tables_cannot_move_the_cursor(capsys: pytest.CaptureFixture[str]) -> None:
    table(("name", "n"), [("a\x1b[2J", "1"), ("bb", "22")], "nothing")
    table(("name",), [], "nothing")
    assert capsys.readouterr().out == "NAME      N\na\\x1b[2J  1\nbb        22\nnothing\n"


def test_amounts_and_times() -> None:
    assert [amount(n) for n in (0, 1023, 1536, 5 << 30)] == ["0 B", "1023 B", "1.5 kB", "5.0 GB"]
    assert [age(n) for n in (-1, 59, 60, 7200, 172800)] == ["0s", "59s", "1m", "2h", "2d"]
    assert moment(0) == moment(None) == "never"
    assert moment(1_700_000_000).startswith("2023-11-1")
