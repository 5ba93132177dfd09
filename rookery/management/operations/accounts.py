"""Accounts: added, imported, shown, changed, renamed, removed, restored; their passwords and app passwords.

The directory knows who exists; the store holds the mail, under an id that never changes. An account is made in the
directory first: if the node dies between the two, `make_missing` finishes the work at the next start. It is taken from
the store first when it is removed for good, for the same reason.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from rookery.base.config.kinds import parse_size
from rookery.base.errors import Cause, Refusal, RookeryError
from rookery.base.ids import account_from_text, account_text
from rookery.management.operations.registry import operation

if TYPE_CHECKING:
    from rookery.distribution.directory.directory import Directory
    from rookery.distribution.directory.values import AccountRecord, Secret
    from rookery.management.parts import Parts

RECENT_CHANGES = 10_000  # of the directory's log that a start looks at
HASH_MARK = "{"  # what begins with it is a hash from elsewhere


class LoginView(msgspec.Struct, frozen=True):
    """`at`: seconds UTC."""

    at: int
    protocol: str
    address: str


class AccountRow(msgspec.Struct, frozen=True):
    """One line of a listing. Limits in octets and messages, 0: none; times in seconds UTC, 0: never."""

    address: str
    account: str
    state: str
    name: str
    admin: bool
    size_limit: int
    message_limit: int
    created: int
    removed_until: int
    pool: str


class AccountView(AccountRow, frozen=True):
    """Everything about one account. `size` and `messages` are what it holds; None: only nodes of its pool know."""

    size: int | None
    messages: int | None
    last_login: LoginView | None
    app_passwords: list[str]


class ImportLine(msgspec.Struct, frozen=True):
    """`password`: plain, or a hash that begins with its {SCHEME}. `quota`: "2GB", "" for the default one."""

    line: int
    address: str
    password: str
    quota: str = ""


class ImportRefusal(msgspec.Struct, frozen=True):
    line: int
    address: str
    what: str


def _row(parts: "Parts", record: "AccountRecord", directory: "Directory | None" = None) -> AccountRow:
    pool = (directory or parts.directory).pool_of(record)
    return AccountRow(
        record.address,
        account_text(record.account),
        record.state.name.lower(),
        record.name,
        record.admin,
        record.size_limit,
        record.message_limit,
        record.created,
        record.removed_until,
        parts.config.store.pool if pool is None else pool.name,
    )


def _secret(password: str) -> "Secret":
    from rookery.distribution.directory.values import Hashed, Plain

    return Hashed(password) if password.startswith(HASH_MARK) else Plain(password)


def _need(parts: "Parts", address: str) -> "AccountRecord":
    from rookery.distribution.directory.rules import no_account, refused

    found = parts.directory.account(address)
    if found is None:
        raise refused(no_account(address))
    return found


async def _make_store(parts: "Parts", record: "AccountRecord") -> None:
    """Of an account of another pool its own nodes do it."""
    if parts.directory.elsewhere(record.account) is not None:
        return
    try:
        await parts.store.create_account(record.account, limits=(record.size_limit, record.message_limit))
    except RookeryError as error:
        parts.incomplete = True
        raise RookeryError(
            error.cause,
            f"{record.address} is there, but not its mailboxes yet: {error.what}; that is tried again by itself",
        ) from error


@operation("account.add")
async def add_account(
    parts: "Parts",
    address: str,
    password: str | None,
    name: str = "",
    size_limit: int | None = None,
    message_limit: int | None = None,
    admin: bool = False,
    pool: str = "",
) -> AccountRow:
    """None for a limit is the site's default; `pool` "": as domain or policy say. Raises INVALID, EXISTS, NOT_FOUND
    (domain or pool)."""
    defaults = parts.config.quota
    record = await parts.administration.add_account(
        address,
        None if password is None else _secret(password),
        name=name,
        size_limit=defaults.size if size_limit is None else size_limit,
        message_limit=defaults.messages if message_limit is None else message_limit,
        admin=admin,
        pool=pool,
    )
    await _make_store(parts, record)
    return _row(parts, record)


@operation("account.import")
async def import_accounts(parts: "Parts", lines: Sequence[ImportLine]) -> list[ImportRefusal]:
    """Add as many as can be added; returns those that were refused, by line."""
    from rookery.distribution.directory.administration import AccountLine

    refused: list[ImportRefusal] = []
    good: list[tuple[ImportLine, AccountLine]] = []
    for line in lines:
        try:
            size = parse_size(line.quota) if line.quota else parts.config.quota.size
        except ValueError as error:
            refused.append(ImportRefusal(line.line, line.address, f"quota {line.quota!r}: {error}"))
            continue
        if not line.password:
            refused.append(ImportRefusal(line.line, line.address, "the second column, a password or a hash, is empty"))
            continue
        made = AccountLine(
            line.address, _secret(line.password), size_limit=size, message_limit=parts.config.quota.messages
        )
        good.append((line, made))
    results = await parts.administration.add_accounts([made for _, made in good])
    for (line, _), result in zip(good, results, strict=True):
        if isinstance(result, Refusal):
            refused.append(ImportRefusal(line.line, line.address, result.what or result.cause.value))
        else:
            await _make_store(parts, result)
    return sorted(refused, key=lambda refusal: refusal.line)


@operation("account.list")
async def list_accounts(parts: "Parts", domain: str | None = None) -> list[AccountRow]:
    return await parts.directory.find(
        lambda directory: [_row(parts, record, directory) for record in directory.accounts(domain)]
    )


@operation("account.show")
async def show_account(parts: "Parts", address: str) -> AccountView:
    record = _need(parts, address)
    last = await parts.directory.find(lambda directory: directory.last_login(record.account))
    usage = await parts.usage(record.account) if parts.directory.elsewhere(record.account) is None else None
    row = _row(parts, record)
    return AccountView(
        address=row.address,
        account=row.account,
        state=row.state,
        name=row.name,
        admin=row.admin,
        size_limit=row.size_limit,
        message_limit=row.message_limit,
        created=row.created,
        removed_until=row.removed_until,
        pool=row.pool,
        size=usage.size if usage is not None else None,
        messages=usage.messages if usage is not None else None,
        last_login=None if last is None else LoginView(last.at, last.protocol, last.address),
        app_passwords=[found.label for found in parts.administration.app_passwords(address)],
    )


@operation("account.change")
async def change_account(
    parts: "Parts",
    address: str,
    name: str | None = None,
    size_limit: int | None = None,
    message_limit: int | None = None,
    admin: bool | None = None,
    enabled: bool | None = None,
) -> AccountRow:
    """None leaves as it is."""
    record = await parts.administration.change_account(
        address, name=name, size_limit=size_limit, message_limit=message_limit, admin=admin, enabled=enabled
    )
    limited = size_limit is not None or message_limit is not None
    if limited and parts.directory.elsewhere(record.account) is None:
        await parts.store.set_limits(record.account, record.size_limit, record.message_limit)
    return _row(parts, record)


@operation("account.rename")
async def rename_account(parts: "Parts", address: str, new: str) -> AccountRow:
    """Mail and UIDs stay: they belong to the id."""
    return _row(parts, await parts.administration.rename_account(address, new))


@operation("account.remove")
async def remove_account(parts: "Parts", address: str, now: bool = False) -> AccountRow:
    """No login and no mail at once; mail and name are kept for store.keep_removed, with `now` not at all: of another
    pool until one of its nodes looks."""
    keep = 0 if now else int(parts.config.store.keep_removed)
    record = await parts.administration.remove_account(address, keep)
    if now and parts.directory.elsewhere(record.account) is None:
        await purge(parts, record)
    return _row(parts, record)


async def purge(parts: "Parts", record: "AccountRecord") -> None:
    """Mail first, then the name: the other way round a dead node would leave mail that nobody can name.

    Another backend of the pool may be doing the same.
    """
    await parts.store.remove_account(record.account)
    try:
        await parts.administration.purge_account(record.account)
    except RookeryError as error:
        if error.cause is not Cause.NOT_FOUND:
            raise


@operation("account.restore")
async def restore_account(parts: "Parts", address: str) -> AccountRow:
    return _row(parts, await parts.administration.restore_account(address))


@operation("account.password")
async def set_password(parts: "Parts", address: str, password: str | None) -> None:
    """The old one ends at once. None: only app passwords log in from now on."""
    await parts.administration.set_password(address, None if password is None else _secret(password))


@operation("account.app-password.add")
async def add_app_password(parts: "Parts", address: str, label: str) -> str:
    """Returns the password; it cannot be shown again."""
    return await parts.administration.add_app_password(address, label)


class AppPasswordRow(msgspec.Struct, frozen=True):
    label: str
    created: int


@operation("account.app-password.list")
async def list_app_passwords(parts: "Parts", address: str) -> list[AppPasswordRow]:
    return [AppPasswordRow(found.label, found.created) for found in parts.administration.app_passwords(address)]


@operation("account.app-password.remove")
async def remove_app_password(parts: "Parts", address: str, label: str) -> None:
    await parts.administration.remove_app_password(address, label)


# --- what a node does by itself ---------------------------------------------------------------------------------------


async def make_missing(parts: "Parts") -> None:
    """Accounts that the directory learned of just before the node died, and the store did not."""
    from rookery.distribution.directory.values import Kind, Verb

    def look(directory: "Directory") -> "list[AccountRecord | None]":
        changes = directory.changes(max(0, directory.last_change() - RECENT_CHANGES), RECENT_CHANGES)
        made = [change.object for change in changes if change.kind is Kind.ACCOUNT and change.verb is Verb.CREATED]
        return [directory.account_by_id(account_from_text(account)) for account in made]

    for record in await parts.directory.find(look):
        if record is not None:
            await _make_store(parts, record)
    parts.incomplete = False


async def purge_expired(parts: "Parts") -> int:
    """Remove the accounts of this pool whose time is over; returns how many there were."""
    expired = await parts.directory.find(lambda directory: directory.expired_accounts())
    for record in expired:
        await purge(parts, record)
    return len(expired)
