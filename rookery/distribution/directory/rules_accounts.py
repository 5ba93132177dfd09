"""Acts on accounts, and the batch of last logins."""

import datetime

import msgspec

from rookery.base.config.tree import Placing
from rookery.base.errors import Cause, Refusal, RookeryError
from rookery.base.ids import AccountId, account_text
from rookery.distribution.directory import reads
from rookery.distribution.directory.addresses import Address
from rookery.distribution.directory.rules import (
    Outcome,
    is_removed,
    need_account,
    need_free,
    no_domain,
    note,
    refused,
    taken_text,
)
from rookery.distribution.directory.rules_credentials import CREDENTIAL_COLUMNS, NewCredential, credential_rows
from rookery.distribution.directory.rules_pools import Places, need_home
from rookery.distribution.directory.values import AccountRecord, AccountState, Kind, LastLogin, Verb
from rookery.storage.engine import Transaction


class NewAccount(msgspec.Struct, frozen=True):
    """Limits in octets and messages, 0: none. Without a password nobody can log in. `pool` "": as the policy says."""

    account: AccountId
    address: Address
    password: NewCredential | None = None
    name: str = ""
    size_limit: int = 0
    message_limit: int = 0
    admin: bool = False
    pool: str = ""


class AddAccounts(msgspec.Struct, frozen=True):
    """`placing`, `here`: see `rules_pools.Places`."""

    accounts: tuple[NewAccount, ...]
    at: int
    placing: Placing = Placing.HERE
    here: int = 0


class ChangeAccount(msgspec.Struct, frozen=True):
    """None leaves as it is."""

    account: AccountId
    at: int
    name: str | None = None
    size_limit: int | None = None
    message_limit: int | None = None
    admin: bool | None = None
    enabled: bool | None = None


class RenameAccount(msgspec.Struct, frozen=True):
    account: AccountId
    address: Address
    at: int


class RemoveAccount(msgspec.Struct, frozen=True):
    """`until` is not after `at`: its time is over at once, and `purge_account` may follow."""

    account: AccountId
    until: int
    at: int


class OneAccount(msgspec.Struct, frozen=True):
    account: AccountId
    at: int


class RecordLogins(msgspec.Struct, frozen=True):
    logins: tuple[tuple[AccountId, LastLogin], ...]


_ACCOUNT_COLUMNS = (
    "account",
    "domain",
    "local",
    "state",
    "removed_until",
    "name",
    "size_limit",
    "message_limit",
    "admin",
    "created",
    "version",
    "scram_salt",
    "scram_iterations",
)


def add_accounts(tx: Transaction, act: AddAccounts) -> Outcome[tuple[AccountId | Refusal, ...]]:
    """Those that can be are added, the others are refused one by one; in the order of `act.accounts`."""
    numbers = {name: reads.domain_number(tx, name) for name in {new.address.domain for new in act.accounts}}
    wanted = [(numbers[new.address.domain], new.address.local) for new in act.accounts]
    keys = [key for key in wanted if key[0] is not None]
    rows = tx.select_many("name", ("domain", "local", "kind", "object"), ("domain", "local"), keys)
    taken = {(row[0], row[1]): reads.Entry(Kind(row[2]), row[3]) for row in rows}
    results: list[AccountId | Refusal] = []
    good: list[tuple[int, NewAccount]] = []
    pools: list[int] = []
    places = Places(tx, act.placing, act.here)
    for new, (number, local) in zip(act.accounts, wanted, strict=True):
        if number is None:
            results.append(no_domain(new.address.domain))
        elif (number, local) in taken:
            results.append(Refusal(Cause.EXISTS, taken_text(tx, new.address, taken[number, local])))
        else:
            pool = places.of(number, new.pool)
            if isinstance(pool, Refusal):
                results.append(pool)
                continue
            taken[number, local] = reads.Entry(Kind.ACCOUNT, new.account)
            results.append(new.account)
            good.append((number, new))
            pools.append(pool)
    if good:
        _insert(tx, good, act.at)
        elsewhere = [(new.account, pool) for (_, new), pool in zip(good, pools, strict=True) if pool]
        tx.insert_many("account_pool", ("account", "pool"), elsewhere)
    return Outcome(tuple(results), names=tuple((number, new.address.local) for number, new in good))


def _insert(tx: Transaction, good: list[tuple[int, NewAccount]], at: int) -> None:
    last = note(tx, at, *((Kind.ACCOUNT, account_text(new.account), Verb.CREATED) for _, new in good))
    first = last - len(good) + 1
    accounts, names, credentials = [], [], []
    for i, (number, new) in enumerate(good):
        scram = new.password.scram if new.password is not None else None
        accounts.append(
            (
                new.account,
                number,
                new.address.local,
                AccountState.ACTIVE.value,
                0,
                new.name,
                new.size_limit,
                new.message_limit,
                int(new.admin),
                at,
                first + i,
                scram.salt if scram is not None else b"",
                scram.iterations if scram is not None else 0,
            )
        )
        names.append((number, new.address.local, Kind.ACCOUNT.value, new.account))
        if new.password is not None:
            credentials += credential_rows(new.account, new.password, at)
    tx.insert_many("account", _ACCOUNT_COLUMNS, accounts)
    tx.insert_many("name", ("domain", "local", "kind", "object"), names)
    tx.insert_many("credential", CREDENTIAL_COLUMNS, credentials)


def add_builtin(tx: Transaction, account: AccountId, address: Address, at: int) -> None:
    """The site's own postmaster, at init: no domain, no password, cannot be renamed or removed."""
    _insert(tx, [(reads.SITE_DOMAIN, NewAccount(account, address, name="Postmaster"))], at)


def _need_ordinary(record: AccountRecord) -> None:
    if record.domain == reads.SITE_DOMAIN:
        raise RookeryError(
            Cause.DENIED,
            "the built-in postmaster can be neither renamed, disabled nor removed; to have its mail elsewhere, add an"
            " account or alias postmaster@DOMAIN",
        )


def change_account(tx: Transaction, act: ChangeAccount) -> Outcome[AccountRecord]:
    record = need_account(tx, act.account)
    if record.state is AccountState.REMOVED:
        raise refused(is_removed(record.address))
    if act.enabled is not None:
        _need_ordinary(record)
    number = note(tx, act.at, (Kind.ACCOUNT, account_text(act.account), Verb.CHANGED))
    state, version = record.state, record.version
    if act.enabled is not None:
        state = AccountState.ACTIVE if act.enabled else AccountState.DISABLED
        version = number
    tx.run(
        "UPDATE account SET name = ?, size_limit = ?, message_limit = ?, admin = ?, state = ?, version = ?"
        " WHERE account = ?",
        record.name if act.name is None else act.name,
        record.size_limit if act.size_limit is None else act.size_limit,
        record.message_limit if act.message_limit is None else act.message_limit,
        int(record.admin if act.admin is None else act.admin),
        state.value,
        version,
        act.account,
    )
    return Outcome(need_account(tx, act.account), accounts=(act.account,))


def rename_account(tx: Transaction, act: RenameAccount) -> Outcome[AccountRecord]:
    """The id, and with it all mail, stays. Targets of aliases and groups that name the account follow."""
    record = need_account(tx, act.account)
    _need_ordinary(record)
    if record.state is AccountState.REMOVED:
        raise refused(is_removed(record.address))
    number = need_free(tx, act.address, ours=act.account)
    need_home(tx, number, record.pool)
    local = record.address.rpartition("@")[0]
    of_domain = "(SELECT name FROM domain_name WHERE domain = ?)"
    pointing = tx.rows(
        f"SELECT DISTINCT expansion FROM target WHERE local = ? AND domain IN {of_domain}", local, record.domain
    )
    note(
        tx,
        act.at,
        (Kind.NAME, record.address, Verb.DESTROYED),
        (Kind.ACCOUNT, account_text(act.account), Verb.CHANGED),
        *((Kind.EXPANSION, bytes(expansion).hex(), Verb.CHANGED) for (expansion,) in pointing),
    )
    tx.run("DELETE FROM name WHERE domain = ? AND local = ?", record.domain, local)
    tx.insert_many(
        "name",
        ("domain", "local", "kind", "object"),
        [(number, act.address.local, Kind.ACCOUNT.value, act.account)],
    )
    tx.run("UPDATE account SET domain = ?, local = ? WHERE account = ?", number, act.address.local, act.account)
    tx.run(
        f"UPDATE target SET local = ?, given = ?, domain = ? WHERE local = ? AND domain IN {of_domain}",
        act.address.local,
        act.address.local,
        act.address.domain,
        local,
        record.domain,
    )
    return Outcome(need_account(tx, act.account), everything=True)


def remove_account(tx: Transaction, act: RemoveAccount) -> Outcome[AccountRecord]:
    """No login and no mail from now on; everything is kept until its time is over, which a second time only ends."""
    record = need_account(tx, act.account)
    _need_ordinary(record)
    if record.state is AccountState.REMOVED and act.until > act.at:
        until = datetime.datetime.fromtimestamp(record.removed_until, datetime.UTC)
        raise RookeryError(
            Cause.CONFLICT,
            f"{record.address} is removed already and kept until {until:%F %T} UTC; remove it for good with"
            f" `rookery account remove {record.address} --now`, or bring it back with"
            f" `rookery account restore {record.address}`",
        )
    number = note(tx, act.at, (Kind.ACCOUNT, account_text(act.account), Verb.CHANGED))
    tx.run(
        "UPDATE account SET state = ?, removed_until = ?, version = ? WHERE account = ?",
        AccountState.REMOVED.value,
        act.until,
        number,
        act.account,
    )
    return Outcome(need_account(tx, act.account), accounts=(act.account,))


def restore_account(tx: Transaction, act: OneAccount) -> Outcome[AccountRecord]:
    record = need_account(tx, act.account)
    if record.state is not AccountState.REMOVED:
        raise RookeryError(
            Cause.CONFLICT, f"{record.address} is not removed; `rookery account list` shows the state of all"
        )
    number = note(tx, act.at, (Kind.ACCOUNT, account_text(act.account), Verb.CHANGED))
    tx.run(
        "UPDATE account SET state = ?, removed_until = 0, version = ? WHERE account = ?",
        AccountState.ACTIVE.value,
        number,
        act.account,
    )
    return Outcome(need_account(tx, act.account), accounts=(act.account,))


def purge_account(tx: Transaction, act: OneAccount) -> Outcome[None]:
    """Forget a removed account whose time is over. Its mail must be gone from the store before."""
    record = need_account(tx, act.account)
    if record.state is not AccountState.REMOVED or record.removed_until > act.at:
        raise RookeryError(Cause.CONFLICT, f"{record.address} is not removed, or its time is not over")
    local = record.address.rpartition("@")[0]
    note(tx, act.at, (Kind.ACCOUNT, account_text(act.account), Verb.DESTROYED))
    tx.run("DELETE FROM name WHERE domain = ? AND local = ?", record.domain, local)
    for table in ("credential", "login", "account_pool", "account"):
        tx.run(f"DELETE FROM {table} WHERE account = ?", act.account)
    return Outcome(None, names=((record.domain, local),), accounts=(act.account,))


def record_logins(tx: Transaction, act: RecordLogins) -> Outcome[None]:
    """Not in the change log: no follower waits for it."""
    ids = [(account,) for account, _ in act.logins]
    known = {row[0] for row in tx.select_many("account", ("account",), ("account",), ids)}
    rows = [(account, login.at, login.protocol, login.address) for account, login in act.logins if account in known]
    tx.delete_many("login", ("account",), [(row[0],) for row in rows])
    tx.insert_many("login", ("account", "at", "protocol", "address"), rows)
    return Outcome(None)
