"""Acts on aliases and groups: an address that stands for others, anywhere.

A loop is refused here, naming its way round; resolving finds those that arise later (a domain that becomes ours).
"""

import msgspec

from rookery.base.errors import Cause, RookeryError
from rookery.distribution.directory import reads
from rookery.distribution.directory.addresses import Address, Parsed, without_detail
from rookery.distribution.directory.rules import Outcome, need_free, note
from rookery.distribution.directory.values import Alias, Group, Kind, Verb
from rookery.storage.engine import Reader, Transaction

TARGETS_LIMIT = 100  # of one alias
MEMBERS_LIMIT = 10_000  # of one group
LOOK_LIMIT = 10_000  # addresses looked at while seeking a loop

_LIMITS = {Kind.ALIAS: TARGETS_LIMIT, Kind.GROUP: MEMBERS_LIMIT}
_WORDS = {Kind.ACCOUNT: "an account", Kind.ALIAS: "an alias", Kind.GROUP: "a group"}


class AddExpansion(msgspec.Struct, frozen=True):
    """`expansion`: a new id, 16 octets. `name` is for groups."""

    expansion: bytes
    kind: Kind
    address: Address
    targets: tuple[Parsed, ...]
    at: int
    name: str = ""


class ChangeExpansion(msgspec.Struct, frozen=True):
    """None leaves as it is; `add` and `remove` work on what `targets` left."""

    kind: Kind
    address: Address
    at: int
    name: str | None = None
    targets: tuple[Parsed, ...] | None = None
    add: tuple[Parsed, ...] = ()
    remove: tuple[Address, ...] = ()


class RenameExpansion(msgspec.Struct, frozen=True):
    kind: Kind
    address: Address
    other: Address
    at: int


class RemoveExpansion(msgspec.Struct, frozen=True):
    kind: Kind
    address: Address
    at: int


def find(reader: Reader, kind: Kind, address: Address) -> tuple[int, bytes]:
    """(domain number, id); raises NOT_FOUND naming what the address is instead."""
    number = reads.domain_number(reader, address.domain)
    held = None if number is None else reads.entry(reader, number, address.local)
    if number is None or held is None or held.kind is not kind:
        instead = "" if held is None else f", it is {_WORDS[held.kind]}"
        listed = f"see `rookery {kind.name.lower()} list`"
        raise RookeryError(Cause.NOT_FOUND, f"{address} is not {_WORDS[kind]}{instead}; {listed}")
    return number, held.object


def _distinct(targets: tuple[Parsed, ...]) -> list[Parsed]:
    return list({target.address: target for target in targets}.values())


def _check(reader: Reader, kind: Kind, address: Address, targets: list[Parsed]) -> None:
    if not targets and kind is Kind.ALIAS:
        raise RookeryError(Cause.INVALID, f"the alias {address} needs a target: an address that gets its mail")
    if len(targets) > _LIMITS[kind]:
        raise RookeryError(
            Cause.TOO_MANY, f"{_WORDS[kind]} has at most {_LIMITS[kind]} members; spread them over several"
        )
    number = reads.domain_number(reader, address.domain)
    assert number is not None
    home = (number, address.local)
    seen: set[tuple[int, str]] = set()
    for target in targets:
        way = _way(reader, target.address, home, seen)
        if way:
            loop = " -> ".join([str(address), *way])
            raise RookeryError(Cause.INVALID, f"that is a loop: {loop}; leave out one of its addresses")


def _way(reader: Reader, start: Address, home: tuple[int, str], seen: set[tuple[int, str]]) -> list[str]:
    """The addresses from `start` back to `home`, or [] when no way leads there."""
    waiting: list[tuple[Address, tuple[str, ...]]] = [(start, (str(start),))]
    while waiting:
        address, way = waiting.pop()
        number = reads.domain_number(reader, address.domain)
        if number is None:
            continue
        local = address.local
        held = reads.entry(reader, number, local)
        if held is None:
            local = without_detail(local)[0]
            held = reads.entry(reader, number, local)
        key = (number, local)
        if key == home:
            return list(way)
        if key in seen or held is None or held.kind is Kind.ACCOUNT or len(seen) >= LOOK_LIMIT:
            continue
        seen.add(key)
        expansion = reads.expansion(reader, held.object)
        if expansion is not None:
            waiting += [(target, (*way, str(target))) for target, _ in expansion.targets]
    return []


def _write_targets(tx: Transaction, expansion: bytes, targets: list[Parsed]) -> None:
    rows = [
        (expansion, i, target.address.local, target.address.domain, target.local) for i, target in enumerate(targets)
    ]
    tx.insert_many("target", ("expansion", "position", "local", "domain", "given"), rows)


def _shown(reader: Reader, kind: Kind, expansion: bytes) -> Alias | Group:
    shown = reads.alias(reader, expansion) if kind is Kind.ALIAS else reads.group(reader, expansion)
    assert shown is not None
    return shown


def add_expansion(tx: Transaction, act: AddExpansion) -> Outcome[Alias | Group]:
    number = need_free(tx, act.address)
    targets = _distinct(act.targets)
    _check(tx, act.kind, act.address, targets)
    note(tx, act.at, (Kind.EXPANSION, act.expansion.hex(), Verb.CREATED))
    tx.insert_many(
        "name", ("domain", "local", "kind", "object"), [(number, act.address.local, act.kind.value, act.expansion)]
    )
    tx.insert_many(
        "expansion",
        ("expansion", "kind", "domain", "local", "name", "created"),
        [(act.expansion, act.kind.value, number, act.address.local, act.name, act.at)],
    )
    _write_targets(tx, act.expansion, targets)
    return Outcome(_shown(tx, act.kind, act.expansion), names=((number, act.address.local),))


def change_expansion(tx: Transaction, act: ChangeExpansion) -> Outcome[Alias | Group]:
    number, expansion = find(tx, act.kind, act.address)
    rows = tx.rows("SELECT local, domain, given FROM target WHERE expansion = ? ORDER BY position", expansion)
    kept = [Parsed(Address(local, domain), given) for local, domain, given in rows]
    if act.targets is not None:
        kept = list(act.targets)
    gone = [address for address in act.remove if all(parsed.address != address for parsed in kept)]
    if gone:
        raise RookeryError(
            Cause.NOT_FOUND,
            f"{gone[0]} is not a member of {act.address}; see `rookery {act.kind.name.lower()} show {act.address}`",
        )
    targets = _distinct((*(parsed for parsed in kept if parsed.address not in act.remove), *act.add))
    _check(tx, act.kind, act.address, targets)
    note(tx, act.at, (Kind.EXPANSION, expansion.hex(), Verb.CHANGED))
    if act.name is not None:
        tx.run("UPDATE expansion SET name = ? WHERE expansion = ?", act.name, expansion)
    tx.run("DELETE FROM target WHERE expansion = ?", expansion)
    _write_targets(tx, expansion, targets)
    return Outcome(_shown(tx, act.kind, expansion), names=((number, act.address.local),))


def rename_expansion(tx: Transaction, act: RenameExpansion) -> Outcome[Alias | Group]:
    number, expansion = find(tx, act.kind, act.address)
    other = need_free(tx, act.other, ours=expansion)
    note(tx, act.at, (Kind.NAME, str(act.address), Verb.DESTROYED), (Kind.EXPANSION, expansion.hex(), Verb.CHANGED))
    tx.run("DELETE FROM name WHERE domain = ? AND local = ?", number, act.address.local)
    tx.insert_many("name", ("domain", "local", "kind", "object"), [(other, act.other.local, act.kind.value, expansion)])
    tx.run("UPDATE expansion SET domain = ?, local = ? WHERE expansion = ?", other, act.other.local, expansion)
    return Outcome(_shown(tx, act.kind, expansion), everything=True)


def remove_expansion(tx: Transaction, act: RemoveExpansion) -> Outcome[None]:
    number, expansion = find(tx, act.kind, act.address)
    note(tx, act.at, (Kind.EXPANSION, expansion.hex(), Verb.DESTROYED))
    tx.run("DELETE FROM name WHERE domain = ? AND local = ?", number, act.address.local)
    tx.run("DELETE FROM target WHERE expansion = ?", expansion)
    tx.run("DELETE FROM expansion WHERE expansion = ?", expansion)
    return Outcome(None, names=((number, act.address.local),))
