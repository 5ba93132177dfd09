"""The acts of an administrator on the directory: one coroutine each.

Everything that comes in as text is checked and made canonical here; rules see canonical values only. Every act has
committed when it returns, and raises RookeryError naming what was wrong: INVALID, EXISTS, NOT_FOUND, IN_USE, CONFLICT,
TOO_MANY, DENIED, BUSY, UNAVAILABLE, DISK_FULL.
"""

import asyncio
from collections.abc import Sequence

import msgspec

from rookery.base.errors import Cause, Refusal, RookeryError
from rookery.base.ids import AccountId, new_account_id
from rookery.distribution.directory import acts
from rookery.distribution.directory import rules_accounts as ra
from rookery.distribution.directory import rules_credentials as rc
from rookery.distribution.directory import rules_domains as rd
from rookery.distribution.directory import rules_expansions as re
from rookery.distribution.directory.addresses import (
    Parsed,
    canonical_domain,
    clean_text,
    new_address,
    parse,
    parse_address,
)
from rookery.distribution.directory.directory import Directory
from rookery.distribution.directory.rules import no_account, refused
from rookery.distribution.directory.values import (
    AccountRecord,
    Alias,
    CredentialKind,
    Domain,
    Group,
    Kind,
    Secret,
)

IMPORT_SLICE = 200  # accounts of one transaction
IMPORT_HASHING = 2  # passwords hashed at a time: logins wait for two at most
REMOVED_KEPT = 30 * 86400  # seconds
NAME_LIMIT = 200  # characters
LABEL_LIMIT = 80
LIMIT_MOST = 1 << 60  # octets or messages


class AccountLine(msgspec.Struct, frozen=True):
    """One account to be made. Limits in octets and messages, 0: none. `pool` "": as domain or policy say."""

    address: str
    secret: Secret | None = None
    name: str = ""
    size_limit: int = 0
    message_limit: int = 0
    admin: bool = False
    pool: str = ""


class AppPassword(msgspec.Struct, frozen=True):
    """What `account show` may say of one; the password itself is shown once, when it is made."""

    label: str
    created: int


def _target(text: str) -> Parsed:
    parsed = parse(text)
    if not parsed.address.domain:
        raise RookeryError(Cause.INVALID, f"{parsed.given} has no domain; expected such as {parsed.given}@example.test")
    return parsed


def _limit(value: int, what: str) -> int:
    if not 0 <= value <= LIMIT_MOST:
        raise RookeryError(Cause.INVALID, f"the {what} limit {value}: expected 0 (none) to {LIMIT_MOST}")
    return value


class Administration:
    """Acts on one directory."""

    __slots__ = ("_directory",)

    def __init__(self, directory: Directory) -> None:
        self._directory = directory

    def _need(self, address: str) -> AccountRecord:
        parsed = parse_address(address)
        record = self._directory.account(address)
        if record is None:
            raise refused(no_account(parsed))
        return record

    # --- domains ---

    async def add_domain(self, name: str) -> Domain:
        return await self._directory.act(acts.ADD_DOMAIN, rd.AddDomain(canonical_domain(name), self._directory.now()))

    def _names(self, name: str, other: str) -> rd.NameDomain:
        return rd.NameDomain(canonical_domain(name), canonical_domain(other), self._directory.now())

    async def rename_domain(self, name: str, new_name: str) -> Domain:
        """Every address of the domain follows, ids stay. Add the old name as another name to go on getting its mail."""
        return await self._directory.act(acts.RENAME_DOMAIN, self._names(name, new_name))

    async def add_domain_alias(self, name: str, alias: str) -> Domain:
        """From now on every address of `name` exists under `alias` too."""
        return await self._directory.act(acts.ADD_DOMAIN_ALIAS, self._names(name, alias))

    async def remove_domain_alias(self, name: str, alias: str) -> Domain:
        return await self._directory.act(acts.REMOVE_DOMAIN_ALIAS, self._names(name, alias))

    async def remove_domain(self, name: str) -> None:
        """Only when nothing is left in it (IN_USE says what is)."""
        await self._directory.act(acts.REMOVE_DOMAIN, rd.RemoveDomain(canonical_domain(name), self._directory.now()))

    # --- accounts ---

    async def add_account(
        self,
        address: str,
        secret: Secret | None = None,
        *,
        name: str = "",
        size_limit: int = 0,
        message_limit: int = 0,
        admin: bool = False,
        pool: str = "",
    ) -> AccountRecord:
        line = AccountLine(address, secret, name, size_limit, message_limit, admin, pool)
        (result,) = await self.add_accounts([line])
        if isinstance(result, Refusal):
            raise RookeryError(result.cause, result.what)
        return result

    async def add_accounts(self, lines: Sequence[AccountLine]) -> list[AccountRecord | Refusal]:
        """Thousands at once: one transaction for 200 of them, one answer for each, in order."""
        results: list[AccountRecord | Refusal] = []
        for start in range(0, len(lines), IMPORT_SLICE):
            results += await self._add_slice(lines[start : start + IMPORT_SLICE])
        return results

    async def _add_slice(self, lines: Sequence[AccountLine]) -> list[AccountRecord | Refusal]:
        turn = asyncio.Semaphore(IMPORT_HASHING)
        made = await asyncio.gather(*(self._new_account(line, turn) for line in lines))
        good = tuple(new for new in made if not isinstance(new, Refusal))
        directory = self._directory
        act = ra.AddAccounts(good, directory.now(), directory.settings.placing, directory.here)
        added = await directory.act(acts.ADD_ACCOUNTS, act)
        answers = iter(added)
        results: list[AccountRecord | Refusal] = []
        for new in made:
            answer = new if isinstance(new, Refusal) else next(answers)
            if isinstance(answer, Refusal):
                results.append(answer)
            else:
                record = self._directory.account_by_id(answer)
                results.append(
                    record
                    if record is not None
                    else Refusal(Cause.CONFLICT, "removed by somebody else meanwhile; add it again")
                )
        return results

    async def _new_account(self, line: AccountLine, turn: asyncio.Semaphore) -> ra.NewAccount | Refusal:
        try:
            address = new_address(line.address)
            name = clean_text(line.name, NAME_LIMIT, "a name")
            size, messages = _limit(line.size_limit, "size"), _limit(line.message_limit, "message")
            password = None
            if line.secret is not None:
                async with turn:
                    password = await self._directory.secrets.make(line.secret, str(address))
        except RookeryError as error:
            return error.refusal
        account = new_account_id(self._directory.random)
        return ra.NewAccount(account, address, password, name, size, messages, line.admin, line.pool)

    async def change_account(
        self,
        address: str,
        *,
        name: str | None = None,
        size_limit: int | None = None,
        message_limit: int | None = None,
        admin: bool | None = None,
        enabled: bool | None = None,
    ) -> AccountRecord:
        """None leaves as it is. A disabled account gets mail but nobody logs in."""
        act = ra.ChangeAccount(
            self._need(address).account,
            self._directory.now(),
            None if name is None else clean_text(name, NAME_LIMIT, "a name"),
            None if size_limit is None else _limit(size_limit, "size"),
            None if message_limit is None else _limit(message_limit, "message"),
            admin,
            enabled,
        )
        return await self._directory.act(acts.CHANGE_ACCOUNT, act)

    async def rename_account(self, address: str, new: str) -> AccountRecord:
        """The id stays, and with it mail and UIDs; aliases and groups that name the account follow."""
        act = ra.RenameAccount(self._need(address).account, new_address(new), self._directory.now())
        return await self._directory.act(acts.RENAME_ACCOUNT, act)

    async def remove_account(self, address: str, keep: int = REMOVED_KEPT) -> AccountRecord:
        """No login and no mail any more; kept `keep` seconds. With 0 its mail may be removed, then `purge_account`."""
        now = self._directory.now()
        act = ra.RemoveAccount(self._need(address).account, now + max(keep, 0), now)
        return await self._directory.act(acts.REMOVE_ACCOUNT, act)

    async def restore_account(self, address: str) -> AccountRecord:
        act = ra.OneAccount(self._need(address).account, self._directory.now())
        return await self._directory.act(acts.RESTORE_ACCOUNT, act)

    async def purge_account(self, account: AccountId) -> None:
        """Forget an account of `Directory.expired_accounts`, after its mail is gone from the store."""
        await self._directory.act(acts.PURGE_ACCOUNT, ra.OneAccount(account, self._directory.now()))

    # --- credentials ---

    async def set_password(self, address: str, secret: Secret | None) -> AccountRecord:
        """None: only app passwords log in from now on. Ends what is remembered of the old one at once."""
        record = self._need(address)
        have = self._directory.credentials(record.account)
        new = None if secret is None else await self._directory.secrets.make(secret, record.address, have)
        return await self._directory.act(acts.SET_PASSWORD, rc.SetPassword(record.account, new, self._directory.now()))

    async def add_app_password(self, address: str, label: str) -> str:
        """Makes one and returns it: it is not kept and cannot be shown again."""
        record = self._need(address)
        label = clean_text(label, LABEL_LIMIT, "a label")
        if not label:
            raise RookeryError(
                Cause.INVALID, "an app password needs a label, such as phone: it is how it is removed later"
            )
        have = self._directory.credentials(record.account)
        password, new = await self._directory.secrets.make_app_password(label, record.address, have)
        await self._directory.act(acts.ADD_APP_PASSWORD, rc.AddAppPassword(record.account, new, self._directory.now()))
        return password

    async def remove_app_password(self, address: str, label: str) -> AccountRecord:
        act = rc.RemoveAppPassword(self._need(address).account, label, self._directory.now())
        return await self._directory.act(acts.REMOVE_APP_PASSWORD, act)

    def app_passwords(self, address: str) -> list[AppPassword]:
        have = self._directory.credentials(self._need(address).account)
        rows = have.rows if have is not None else ()
        made = [AppPassword(row.label, row.created) for row in rows if row.kind is CredentialKind.APP_PASSWORD]
        return sorted(made, key=lambda app: (app.created, app.label))

    # --- aliases and groups ---

    async def _add(self, kind: Kind, address: str, targets: Sequence[str], name: str) -> Alias | Group:
        act = re.AddExpansion(
            self._directory.secrets.new_id(),
            kind,
            new_address(address),
            tuple(_target(target) for target in targets),
            self._directory.now(),
            clean_text(name, NAME_LIMIT, "a name"),
        )
        return await self._directory.act(acts.ADD_EXPANSION, act)

    async def add_alias(self, address: str, targets: Sequence[str]) -> Alias:
        made = await self._add(Kind.ALIAS, address, targets, "")
        assert isinstance(made, Alias)
        return made

    async def add_group(self, address: str, members: Sequence[str] = (), name: str = "") -> Group:
        made = await self._add(Kind.GROUP, address, members, name)
        assert isinstance(made, Group)
        return made

    async def change_alias(self, address: str, targets: Sequence[str]) -> Alias:
        changed = await self._change(Kind.ALIAS, address, targets)
        assert isinstance(changed, Alias)
        return changed

    async def change_group(
        self,
        address: str,
        *,
        name: str | None = None,
        members: Sequence[str] | None = None,
        add: Sequence[str] = (),
        remove: Sequence[str] = (),
    ) -> Group:
        """`members` replaces them all; `add` and `remove` work on what there is then."""
        changed = await self._change(Kind.GROUP, address, members, name, add, remove)
        assert isinstance(changed, Group)
        return changed

    async def _change(
        self,
        kind: Kind,
        address: str,
        targets: Sequence[str] | None,
        name: str | None = None,
        add: Sequence[str] = (),
        remove: Sequence[str] = (),
    ) -> Alias | Group:
        act = re.ChangeExpansion(
            kind,
            parse_address(address),
            self._directory.now(),
            None if name is None else clean_text(name, NAME_LIMIT, "a name"),
            None if targets is None else tuple(_target(target) for target in targets),
            tuple(_target(target) for target in add),
            tuple(parse_address(target) for target in remove),
        )
        return await self._directory.act(acts.CHANGE_EXPANSION, act)

    async def rename_alias(self, address: str, new: str) -> Alias:
        renamed = await self._rename(Kind.ALIAS, address, new)
        assert isinstance(renamed, Alias)
        return renamed

    async def rename_group(self, address: str, new: str) -> Group:
        renamed = await self._rename(Kind.GROUP, address, new)
        assert isinstance(renamed, Group)
        return renamed

    async def _rename(self, kind: Kind, address: str, new: str) -> Alias | Group:
        act = re.RenameExpansion(kind, parse_address(address), new_address(new), self._directory.now())
        return await self._directory.act(acts.RENAME_EXPANSION, act)

    async def remove_alias(self, address: str) -> None:
        await self._remove(Kind.ALIAS, address)

    async def remove_group(self, address: str) -> None:
        await self._remove(Kind.GROUP, address)

    async def _remove(self, kind: Kind, address: str) -> None:
        act = re.RemoveExpansion(kind, parse_address(address), self._directory.now())
        await self._directory.act(acts.REMOVE_EXPANSION, act)
