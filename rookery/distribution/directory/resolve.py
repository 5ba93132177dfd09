"""Address -> where its mail goes: accounts of ours, and addresses outside.

Exact names come first, then the name without its "+detail". Loops end because every address is visited once; depth and
number are bounded. What leads nowhere is named, so that nothing disappears unseen.
"""

from collections.abc import Callable
from enum import Enum

from rookery.base.errors import Cause, RookeryError
from rookery.distribution.directory.addresses import (
    ALWAYS,
    DETAIL_SEPARATOR,
    POSTMASTER,
    Address,
    parse,
    parse_address,
    without_detail,
)
from rookery.distribution.directory.memory import Memory
from rookery.distribution.directory.reads import SITE_DOMAIN, Entry, Expansion
from rookery.distribution.directory.values import (
    AccountRecord,
    AccountState,
    Kind,
    NotLocal,
    Resolution,
    Resolved,
    Target,
    Unknown,
)

DEPTH_LIMIT = 10  # aliases and groups inside one another
RESULT_LIMIT = 20_000  # addresses visited for one recipient


class Known(Enum):
    """The short answer to RCPT."""

    LOCAL = 1
    UNKNOWN = 2
    NOT_LOCAL = 3


Keepers = Callable[[int | None], list[AccountRecord]]


def lookup(memory: Memory, number: int, local: str) -> tuple[Entry | None, str]:
    """The entry, and the detail that was cut off to find it."""
    entry = memory.entry(number, local)
    if entry is None and DETAIL_SEPARATOR in local:
        base, detail = without_detail(local)
        if detail or base != local:
            return memory.entry(number, base), detail
    return entry, ""


def resolve(memory: Memory, keepers: Keepers, default_domain: str, text: str) -> Resolution:
    """Raises RookeryError(INVALID) when `text` is no address, (TOO_MANY) when it stands for too many."""
    parsed = parse(text)
    address = parsed.address
    if not address.domain:  # RFC 5321 section 4.5.1: RCPT TO:<postmaster> without a domain
        if not default_domain:
            return _kept(keepers, SITE_DOMAIN, address, bare=True)
        address = Address(address.local, default_domain)
    number = memory.domain_number(address.domain)
    if number is None:
        return NotLocal(address.domain)
    entry, detail = lookup(memory, number, address.local)
    if detail:
        detail = parsed.local[len(parsed.local) - len(detail) :]  # in the case it was given in
    if entry is not None and entry.kind is Kind.ACCOUNT:
        record = memory.account(entry.object)
        if record is not None and record.state is not AccountState.REMOVED:
            return Resolved((Target(record.account, _final(record, detail)),))
        found: Resolution = Unknown("the account is removed")
    elif entry is not None:
        found = _Walk(memory, keepers).run(entry, number, address, detail)
    else:
        found = Unknown("no such address")
    if isinstance(found, Unknown):
        always = without_detail(address.local)[0]
        if always in ALWAYS:
            return _kept(keepers, number, Address(always, address.domain), bare=not parsed.address.domain)
    return found


def known(memory: Memory, default_domain: str, text: str) -> Known:
    """Whether mail for `text` is ours and wanted. An alias or group counts when it leads to anybody.

    What leads to nobody is refused here: to bounce it later would send mail to whoever a forged sender names.
    """
    address = parse_address(text)
    number = memory.domain_number(address.domain or default_domain)
    if number is None:
        return Known.LOCAL if not address.domain else Known.NOT_LOCAL
    if without_detail(address.local)[0] in ALWAYS:
        return Known.LOCAL
    entry, _ = lookup(memory, number, address.local)
    if entry is None:
        return Known.UNKNOWN
    return Known.LOCAL if _leads_to_somebody(memory, entry) else Known.UNKNOWN


def _leads_to_somebody(memory: Memory, entry: Entry) -> bool:
    """Stops at the first."""
    waiting, seen = [entry], {entry.object}
    while waiting:
        above = waiting.pop()
        if above.kind is Kind.ACCOUNT:
            record = memory.account(above.object)
            if record is not None and record.state is not AccountState.REMOVED:
                return True
            continue
        expansion = memory.expansion(above.object)
        for target, _ in expansion.targets if expansion is not None else ():
            number = memory.domain_number(target.domain)
            if number is None:
                return True
            below, _ = lookup(memory, number, target.local)
            if below is None:
                if without_detail(target.local)[0] in ALWAYS:
                    return True
            elif below.object not in seen:
                seen.add(below.object)
                waiting.append(below)
    return False


def _final(record: AccountRecord, detail: str) -> str:
    if not detail:
        return record.address
    local, _, domain = record.address.rpartition("@")
    return f"{local}{DETAIL_SEPARATOR}{detail}@{domain}"


def _kept(keepers: Keepers, number: int, address: Address, *, bare: bool) -> Resolved:
    """Whoever reads the mail of postmaster and abuse; a detail is dropped."""
    targets = tuple(Target(record.account, record.address) for record in keepers(number or None))
    # The built-in account's own address is the bare `postmaster`: that is an account then, not an expansion.
    through = "" if bare and [target.address for target in targets] == [POSTMASTER] else str(address)
    return Resolved(targets, through=through)


class _Walk:
    """One expansion of an alias or group, breadth first."""

    __slots__ = ("_keepers", "_memory", "_missing", "_outside", "_seen", "_targets")

    def __init__(self, memory: Memory, keepers: Keepers) -> None:
        self._memory = memory
        self._keepers = keepers
        self._seen: set[bytes] = set()
        self._targets: dict[str, Target] = {}
        self._outside: dict[Address, str] = {}
        self._missing: dict[str, None] = {}

    def run(self, entry: Entry, number: int, address: Address, detail: str) -> Resolution:
        level = [(entry, detail)]
        self._seen.add(entry.object)
        for _ in range(DEPTH_LIMIT):
            level = [below for above, detail in level for below in self._expand(above, detail)]
            if not level:
                break
        else:
            raise RookeryError(Cause.TOO_MANY, f"{address}: aliases and groups more than {DEPTH_LIMIT} deep")
        if not self._targets and not self._outside:
            return Unknown("it leads to nobody")
        return Resolved(
            tuple(self._targets.values()), tuple(self._outside.values()), str(address), tuple(self._missing)
        )

    def _expand(self, entry: Entry, detail: str) -> list[tuple[Entry, str]]:
        expansion = self._memory.expansion(entry.object)
        if expansion is None:
            return []
        if len(self._targets) + len(self._outside) + len(expansion.targets) > RESULT_LIMIT:
            raise RookeryError(Cause.TOO_MANY, f"more than {RESULT_LIMIT} recipients behind one address")
        below = []
        for target, given in expansion.targets:
            found = self._visit(expansion, target, given, detail)
            if found is not None:
                below.append(found)
        return below

    def _visit(self, above: Expansion, target: Address, given: str, detail: str) -> tuple[Entry, str] | None:
        """Note one target; returns an alias or group to expand in its turn."""
        number = self._memory.domain_number(target.domain)
        if number is None:
            self._outside.setdefault(target, given)
            return None
        entry, own_detail = lookup(self._memory, number, target.local)
        if above.kind is Kind.ALIAS and not own_detail:
            own_detail = detail  # an alias passes its detail on, a group does not
        if entry is None and without_detail(target.local)[0] in ALWAYS:
            for keeper in self._keepers(number):
                self._targets.setdefault(keeper.address, Target(keeper.account, keeper.address))
            return None
        if entry is None:
            self._missing[str(target)] = None
        elif entry.kind is Kind.ACCOUNT:
            record = self._memory.account(entry.object)
            if record is None or record.state is AccountState.REMOVED:
                self._missing[str(target)] = None
            else:
                final = _final(record, own_detail)
                self._targets.setdefault(final, Target(record.account, final))
        elif entry.object not in self._seen:
            self._seen.add(entry.object)
            return entry, own_detail
        return None
