"""Acts on credentials: passwords, app passwords, SCRAM keys.

All SCRAM keys of an account share one salt and iteration count. A key that comes with another salt than the account's
is left out, and made anew when its password is next proved.
"""

import msgspec

from rookery.base.errors import Cause, RookeryError
from rookery.base.ids import AccountId, account_text
from rookery.distribution.directory.rules import Outcome, is_removed, need_account, note, refused
from rookery.distribution.directory.values import AccountRecord, AccountState, CredentialKind, Kind, Verb
from rookery.storage.engine import Transaction, Value

APP_PASSWORDS_LIMIT = 20  # of one account
CREDENTIAL_COLUMNS = ("credential", "account", "kind", "parent", "label", "data", "created")


class ScramData(msgspec.Struct, frozen=True):
    """The key of one password. `credential`: its own id, 16 octets."""

    credential: bytes
    salt: bytes
    iterations: int
    data: str


class NewCredential(msgspec.Struct, frozen=True):
    """`credential`: a new id, 16 octets."""

    credential: bytes
    data: str
    label: str = ""
    scram: ScramData | None = None


class SetPassword(msgspec.Struct, frozen=True):
    """`password` None: no password logs in any more (app passwords still do)."""

    account: AccountId
    password: NewCredential | None
    at: int


class AddAppPassword(msgspec.Struct, frozen=True):
    account: AccountId
    password: NewCredential
    at: int


class RemoveAppPassword(msgspec.Struct, frozen=True):
    account: AccountId
    label: str
    at: int


class Refresh(msgspec.Struct, frozen=True):
    """Another hash of the same password, and the SCRAM key of it, if `before` is still what is kept."""

    account: AccountId
    credential: bytes
    before: str
    data: str
    scram: ScramData | None
    at: int


def credential_rows(
    account: AccountId, new: NewCredential, at: int, kind: CredentialKind = CredentialKind.PASSWORD
) -> list[tuple[Value, ...]]:
    """The rows of one credential: itself, and its SCRAM key."""
    rows: list[tuple[Value, ...]] = [(new.credential, account, kind.value, b"", new.label, new.data, at)]
    if new.scram is not None:
        scram = CredentialKind.SCRAM.value
        rows.append((new.scram.credential, account, scram, new.credential, "", new.scram.data, at))
    return rows


def _need_living(tx: Transaction, account: AccountId) -> AccountRecord:
    record = need_account(tx, account)
    if record.state is AccountState.REMOVED:
        raise refused(is_removed(record.address))
    return record


def _fits(tx: Transaction, account: AccountId, scram: ScramData | None) -> bool:
    """Whether the key has the account's salt; an account without one takes this one."""
    if scram is None:
        return False
    row = tx.row("SELECT scram_salt, scram_iterations FROM account WHERE account = ?", account)
    if row is not None and not row[0]:
        tx.run(
            "UPDATE account SET scram_salt = ?, scram_iterations = ? WHERE account = ?",
            scram.salt,
            scram.iterations,
            account,
        )
        return True
    return row == (scram.salt, scram.iterations)


def _put(tx: Transaction, account: AccountId, new: NewCredential, kind: CredentialKind, at: int) -> None:
    if not _fits(tx, account, new.scram):
        new = NewCredential(new.credential, new.data, new.label)
    tx.insert_many("credential", CREDENTIAL_COLUMNS, credential_rows(account, new, at, kind))


def _drop(tx: Transaction, account: AccountId, credential: bytes) -> None:
    tx.run("DELETE FROM credential WHERE account = ? AND parent = ?", account, credential)
    tx.run("DELETE FROM credential WHERE account = ? AND credential = ?", account, credential)


def _changed(tx: Transaction, account: AccountId, at: int) -> Outcome[AccountRecord]:
    number = note(tx, at, (Kind.CREDENTIAL, account_text(account), Verb.CHANGED))
    tx.run("UPDATE account SET version = ? WHERE account = ?", number, account)
    return Outcome(need_account(tx, account), accounts=(account,))


def set_password(tx: Transaction, act: SetPassword) -> Outcome[AccountRecord]:
    """Replaces the password; app passwords stay."""
    _need_living(tx, act.account)
    old = tx.rows(
        "SELECT credential FROM credential WHERE account = ? AND kind = ?", act.account, CredentialKind.PASSWORD.value
    )
    for (credential,) in old:
        _drop(tx, act.account, credential)
    if act.password is not None:
        _put(tx, act.account, act.password, CredentialKind.PASSWORD, act.at)
    return _changed(tx, act.account, act.at)


def add_app_password(tx: Transaction, act: AddAppPassword) -> Outcome[AccountRecord]:
    record = _need_living(tx, act.account)
    labels = tx.rows(
        "SELECT label FROM credential WHERE account = ? AND kind = ?", act.account, CredentialKind.APP_PASSWORD.value
    )
    if (act.password.label,) in labels:
        raise RookeryError(
            Cause.EXISTS,
            f"{record.address} has an app password {act.password.label!r} already; give another label, or remove that"
            " one with `rookery account app-password remove`",
        )
    if len(labels) >= APP_PASSWORDS_LIMIT:
        raise RookeryError(
            Cause.TOO_MANY,
            f"{record.address} has {APP_PASSWORDS_LIMIT} app passwords, and more are not kept; remove one with"
            " `rookery account app-password remove`",
        )
    _put(tx, act.account, act.password, CredentialKind.APP_PASSWORD, act.at)
    return _changed(tx, act.account, act.at)


def remove_app_password(tx: Transaction, act: RemoveAppPassword) -> Outcome[AccountRecord]:
    record = need_account(tx, act.account)
    row = tx.row(
        "SELECT credential FROM credential WHERE account = ? AND kind = ? AND label = ?",
        act.account,
        CredentialKind.APP_PASSWORD.value,
        act.label,
    )
    if row is None:
        raise RookeryError(
            Cause.NOT_FOUND,
            f"{record.address} has no app password {act.label!r}; see"
            f" `rookery account app-password list {record.address}`",
        )
    _drop(tx, act.account, row[0])
    return _changed(tx, act.account, act.at)


def refresh(tx: Transaction, act: Refresh) -> Outcome[None]:
    """After a proof: the version stays, because who knew the password knows it still."""
    changed = tx.run(
        "UPDATE credential SET data = ? WHERE credential = ? AND account = ? AND data = ?",
        act.data,
        act.credential,
        act.account,
        act.before,
    )
    if changed:
        if _fits(tx, act.account, act.scram) and act.scram is not None:
            tx.run("DELETE FROM credential WHERE account = ? AND parent = ?", act.account, act.credential)
            row = (
                act.scram.credential,
                act.account,
                CredentialKind.SCRAM.value,
                act.credential,
                "",
                act.scram.data,
                act.at,
            )
            tx.insert_many("credential", CREDENTIAL_COLUMNS, [row])
        note(tx, act.at, (Kind.CREDENTIAL, account_text(act.account), Verb.CHANGED))
    return Outcome(None, accounts=(act.account,))
