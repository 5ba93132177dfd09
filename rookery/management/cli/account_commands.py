"""account: people who have mail here."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from rookery.base.config.kinds import parse_size
from rookery.base.errors import Cause, RookeryError
from rookery.management.cli.main import Context
from rookery.management.cli.output import amount, complain, limit, moment, need_any, pairs, table, write, write_json
from rookery.management.client import Client
from rookery.management.operations import accounts
from rookery.management.operations.accounts import AccountRow, ImportLine, ImportRefusal

IMPORT_BATCH = 50  # lines of one request; the progress bar moves with each
LINE_LIMIT = 65_536  # characters of a line of an import
PASSWORD_LIMIT = 1024  # octets
LINE_LIMIT = 10_000  # octets of one CSV line

account = typer.Typer(help="People who have mail here.", no_args_is_help=True)
app_password = typer.Typer(help="Second passwords, each for one device.", no_args_is_help=True)
account.add_typer(app_password, name="app-password")

Address = Annotated[str, typer.Argument(metavar="ADDRESS", help="Such as alice@example.test.")]
Json = Annotated[bool, typer.Option("--json", help="As JSON.")]
PasswordFile = Annotated[
    str, typer.Option("--password-file", metavar="FILE", help="Its first line is the password; - is standard input.")
]
Quota = Annotated[str | None, typer.Option("--quota", metavar="SIZE", help="Such as 2GB; 0 is no limit.")]
Messages = Annotated[
    int | None, typer.Option("--messages", min=0, help="How many messages it may hold; 0 is no limit.")
]


def _client(context: typer.Context) -> Client:
    given: Context = context.obj
    return Client(given.site_folder())


def _size(text: str | None) -> int | None:
    if text is None:
        return None
    try:
        return parse_size(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r}: {error}", param_hint="--quota") from error


def read_password(file: str) -> str:
    """The first line of a file, or of standard input, without its line end. Raises RookeryError."""
    try:
        if file == "-":
            data = sys.stdin.buffer.readline(PASSWORD_LIMIT + 2)
        else:
            with Path(file).open("rb") as opened:
                data = opened.readline(PASSWORD_LIMIT + 2)
    except OSError as error:
        what = f"{file}: {error.strerror or error}; give a file whose first line is the password, or - to type it"
        raise RookeryError(Cause.NOT_FOUND, what) from error
    try:
        password = data.rstrip(b"\r\n").decode()
    except UnicodeDecodeError as error:
        raise RookeryError(Cause.INVALID, f"{file}: the first line is not UTF-8, as a password must be") from error
    if not password:
        raise RookeryError(Cause.INVALID, f"{file}: the first line is empty; a password is expected there")
    return password


def _write_row(row: AccountRow, json: bool, text: str) -> None:
    if json:
        write_json(row)
    else:
        write(text)


@account.command()
def add(
    context: typer.Context,
    address: Address,
    password_file: PasswordFile,
    name: Annotated[str, typer.Option("--name", help="The person's name.")] = "",
    quota: Quota = None,
    messages: Messages = None,
    admin: Annotated[bool, typer.Option("--admin", help="Gets the mail to postmaster and abuse.")] = False,
    pool: Annotated[str, typer.Option("--pool", metavar="NAME", help="Which pool has its mail.")] = "",
    json: Json = False,
) -> None:
    """Add an account. A password that begins with {SCHEME} is taken as a hash."""
    password, size = read_password(password_file), _size(quota)
    row = _client(context).call(
        accounts.add_account,
        address,
        password,
        name=name,
        size_limit=size,
        message_limit=messages,
        admin=admin,
        pool=pool,
    )
    _write_row(row, json, f"{row.address} is there.")


@account.command("import")
def import_(
    context: typer.Context,
    file: Annotated[
        Path, typer.Argument(metavar="FILE.csv", help="address, password or hash, quota; no header needed.")
    ],
    json: Json = False,
) -> None:
    """Add thousands at once; what is refused is named by its line, and the rest is done."""
    client = _client(context)
    read = list(read_csv(file))
    lines = [line for line in read if isinstance(line, ImportLine)]
    refused = [line for line in read if isinstance(line, ImportRefusal)]
    for start, batch in _progress(
        [lines[i : i + IMPORT_BATCH] for i in range(0, len(lines), IMPORT_BATCH)], len(lines)
    ):
        refused += client.call(accounts.import_accounts, batch)
        del start
    refused.sort(key=lambda refusal: refusal.line)
    if json:
        write_json(refused)
    else:
        for refusal in refused:
            complain(f"{file}:{refusal.line}: {refusal.address}: {refusal.what}")
        write(f"{len(read) - len(refused)} of {len(read)} accounts added.")
    if refused:
        raise typer.Exit(1)


def _progress(batches: list[list[ImportLine]], total: int) -> Iterator[tuple[int, list[ImportLine]]]:
    """The batches, with a bar on standard error when somebody watches."""
    if not sys.stderr.isatty():
        yield from enumerate(batches)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("Adding accounts", total=total)
        for number, batch in enumerate(batches):
            yield number, batch
            progress.advance(task, len(batch))


def read_csv(file: Path) -> Iterator[ImportLine | ImportRefusal]:
    """Every line but empty ones and a header; a line that is no CSV is a refusal, so that it spoils no other.

    A row is one line: a quote left open ends with its line. Raises RookeryError when the file cannot be read.
    """
    import csv

    try:
        with file.open(encoding="utf-8-sig", newline="") as opened:
            for number, line in enumerate(iter(lambda: opened.readline(LINE_LIMIT), ""), 1):
                if len(line) == LINE_LIMIT:
                    raise RookeryError(Cause.INVALID, f"{file}:{number}: a line is longer than {LINE_LIMIT} characters")
                try:
                    cells = next(csv.reader([line.rstrip("\r\n")], strict=True), [])
                except csv.Error:
                    yield ImportRefusal(number, line.partition(",")[0][:80], "a quote is left open or misplaced")
                    continue
                if not any(cell.strip() for cell in cells):
                    continue
                address, password, quota = [*cells, "", ""][:3]
                if number == 1 and "@" not in address:
                    continue
                if any(cell.strip() for cell in cells[3:]):
                    yield ImportRefusal(number, address.strip(), "more than address, password and quota; quote a comma")
                    continue
                yield ImportLine(number, address.strip(), password, quota.strip())
    except (OSError, UnicodeDecodeError) as error:
        raise RookeryError(Cause.INVALID, f"{file}: {error}") from error


@account.command("list")
def list_(
    context: typer.Context,
    domain: Annotated[str | None, typer.Argument(help="Only of this domain.")] = None,
    json: Json = False,
) -> None:
    """List accounts."""
    rows = _client(context).call(accounts.list_accounts, domain)
    if json:
        write_json(rows)
        return
    table(
        ("address", "state", "quota", "messages", "name"),
        [(row.address, row.state, limit(row.size_limit), str(row.message_limit or "none"), row.name) for row in rows],
        "No accounts.",
    )


@account.command()
def show(context: typer.Context, address: Address, json: Json = False) -> None:
    """Show one account: state, what it holds, its last login."""
    view = _client(context).call(accounts.show_account, address)
    if json:
        write_json(view)
        return
    last = view.last_login
    until = f", can be restored until {moment(view.removed_until)}" if view.removed_until else ""
    pairs(
        [
            ("address", view.address),
            ("name", view.name or "-"),
            ("id", view.account),
            ("state", view.state + until),
            ("pool", view.pool),
            ("holds", "not known here" if view.size is None else f"{amount(view.size)} in {view.messages} messages"),
            ("quota", f"{limit(view.size_limit)}; messages: {view.message_limit or 'none'}"),
            ("administrator", "yes" if view.admin else "no"),
            ("created", moment(view.created)),
            ("last login", f"{moment(last.at)}, {last.protocol} from {last.address}" if last else "never"),
            ("app passwords", ", ".join(view.app_passwords) or "none"),
        ]
    )


@account.command()
def change(
    context: typer.Context,
    address: Address,
    name: Annotated[str | None, typer.Option("--name", help="The person's name.")] = None,
    quota: Quota = None,
    messages: Messages = None,
    admin: Annotated[bool | None, typer.Option("--admin/--no-admin", help="Gets postmaster's mail.")] = None,
    enabled: Annotated[bool | None, typer.Option("--enable/--disable", help="Disabled: gets mail, no login.")] = None,
    json: Json = False,
) -> None:
    """Change name, quota, or whether it may log in."""
    need_any(
        "--name, --quota, --messages, --admin, --no-admin, --enable or --disable", name, quota, messages, admin, enabled
    )
    client = _client(context).at_host(address)
    row = client.call(
        accounts.change_account,
        address,
        name=name,
        size_limit=_size(quota),
        message_limit=messages,
        admin=admin,
        enabled=enabled,
    )
    _write_row(row, json, f"{row.address} is changed.")


@account.command()
def rename(
    context: typer.Context, address: Address, new: Annotated[str, typer.Argument(metavar="NEW")], json: Json = False
) -> None:
    """Give an account another address; mail and UIDs stay."""
    row = _client(context).call(accounts.rename_account, address, new)
    _write_row(row, json, f"{address} is {row.address} now.")


@account.command()
def remove(
    context: typer.Context,
    address: Address,
    now: Annotated[bool, typer.Option("--now", help="For good: its mail is not kept.")] = False,
    json: Json = False,
) -> None:
    """Remove an account. Its mail is kept for store.keep_removed, unless --now."""
    row = _client(context).at_host(address).call(accounts.remove_account, address, now=now)
    kept = "" if now else f" Its mail is kept until {moment(row.removed_until)}."
    _write_row(row, json, f"{row.address} is removed.{kept}")


@account.command()
def restore(context: typer.Context, address: Address, json: Json = False) -> None:
    """Bring a removed account back, with its mail."""
    row = _client(context).call(accounts.restore_account, address)
    _write_row(row, json, f"{row.address} is back.")


@account.command()
def password(context: typer.Context, address: Address, password_file: PasswordFile) -> None:
    """Set the password; the old one ends at once."""
    _client(context).call(accounts.set_password, address, read_password(password_file))
    write(f"{address} has a new password.")


@app_password.command("add")
def add_app_password(
    context: typer.Context, address: Address, label: Annotated[str, typer.Argument(help="What it is for.")]
) -> None:
    """Make one and print it; it cannot be shown again."""
    write(_client(context).call(accounts.add_app_password, address, label))


@app_password.command("list")
def list_app_passwords(context: typer.Context, address: Address, json: Json = False) -> None:
    """List what they are for."""
    rows = _client(context).call(accounts.list_app_passwords, address)
    if json:
        write_json(rows)
    else:
        table(("label", "made"), [(row.label, moment(row.created)) for row in rows], "No app passwords.")


@app_password.command("remove")
def remove_app_password(context: typer.Context, address: Address, label: str) -> None:
    """Take one away; it ends at once."""
    _client(context).call(accounts.remove_app_password, address, label)
    write(f"{label} is gone.")


def enter(app: typer.Typer) -> None:
    app.add_typer(account, name="account")
