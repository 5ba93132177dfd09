"""Acts on domains. Names here are canonical (addresses.canonical_domain)."""

import msgspec

from rookery.base.errors import Cause, RookeryError
from rookery.distribution.directory import reads
from rookery.distribution.directory.rules import Outcome, need_domain, no_domain, note, refused
from rookery.distribution.directory.values import Domain, Kind, Verb
from rookery.storage.engine import Transaction

ALIASES_LIMIT = 100  # other names of one domain


class AddDomain(msgspec.Struct, frozen=True):
    name: str
    at: int


class NameDomain(msgspec.Struct, frozen=True):
    """A domain and another name of it: to rename it to, to add or to take away."""

    name: str
    other: str
    at: int


class RemoveDomain(msgspec.Struct, frozen=True):
    name: str
    at: int


def _need_free_name(tx: Transaction, name: str, *, ours: int | None = None) -> None:
    number = reads.domain_number(tx, name)
    if number is None or number == ours:
        return
    holder = reads.domain(tx, name)
    assert holder is not None
    if holder.name == name:
        raise RookeryError(Cause.EXISTS, f"there is a domain {name} already; see `rookery domain show {name}`")
    raise RookeryError(
        Cause.EXISTS,
        f"{name} is another name of the domain {holder.name}; take it away there first:"
        f" `rookery domain change {holder.name} --remove-alias {name}`",
    )


def need_main_name(tx: Transaction, name: str) -> Domain:
    found = reads.domain(tx, name)
    if found is None:
        raise refused(no_domain(name))
    if found.name != name:
        raise RookeryError(Cause.INVALID, f"{name} is another name of the domain {found.name}; give {found.name} here")
    return found


def _shown(tx: Transaction, name: str) -> Domain:
    shown = reads.domain(tx, name)
    assert shown is not None
    return shown


def add_domain(tx: Transaction, act: AddDomain) -> Outcome[Domain]:
    return Outcome(enter(tx, act.name, act.at), everything=True)


def enter(tx: Transaction, name: str, at: int) -> Domain:
    """A new domain."""
    _need_free_name(tx, name)
    # The number of its change is the domain's number: it rises and is never used twice.
    number = note(tx, at, (Kind.DOMAIN, None, Verb.CREATED))
    tx.run("INSERT INTO domain (domain, name, created) VALUES (?, ?, ?)", number, name, at)
    tx.run("INSERT INTO domain_name (name, domain) VALUES (?, ?)", name, number)
    return _shown(tx, name)


def rename_domain(tx: Transaction, act: NameDomain) -> Outcome[Domain]:
    """All addresses follow, and so do the targets of aliases and groups that point into the domain."""
    found = need_main_name(tx, act.name)
    _need_free_name(tx, act.other, ours=found.id)
    pointing = tx.rows("SELECT DISTINCT expansion FROM target WHERE domain = ?", act.name)
    note(
        tx,
        act.at,
        (Kind.DOMAIN, str(found.id), Verb.CHANGED),
        *((Kind.EXPANSION, bytes(expansion).hex(), Verb.CHANGED) for (expansion,) in pointing),
    )
    tx.run("DELETE FROM domain_name WHERE name = ? OR name = ?", act.name, act.other)
    tx.run("INSERT INTO domain_name (name, domain) VALUES (?, ?)", act.other, found.id)
    tx.run("UPDATE domain SET name = ? WHERE domain = ?", act.other, found.id)
    tx.run("UPDATE target SET domain = ? WHERE domain = ?", act.other, act.name)
    return Outcome(_shown(tx, act.other), everything=True)


def add_domain_alias(tx: Transaction, act: NameDomain) -> Outcome[Domain]:
    found = need_main_name(tx, act.name)
    _need_free_name(tx, act.other)
    if len(found.aliases) >= ALIASES_LIMIT:
        raise RookeryError(
            Cause.TOO_MANY,
            f"{act.name} has {ALIASES_LIMIT} other names, and more are not kept; take one away with"
            f" `rookery domain change {act.name} --remove-alias NAME`",
        )
    note(tx, act.at, (Kind.DOMAIN, str(found.id), Verb.CHANGED))
    tx.run("INSERT INTO domain_name (name, domain) VALUES (?, ?)", act.other, found.id)
    return Outcome(_shown(tx, act.name), everything=True)


def remove_domain_alias(tx: Transaction, act: NameDomain) -> Outcome[Domain]:
    found = need_main_name(tx, act.name)
    if act.other not in found.aliases:
        raise RookeryError(
            Cause.NOT_FOUND,
            f"{act.other} is not another name of the domain {act.name}; see `rookery domain show {act.name}`",
        )
    note(tx, act.at, (Kind.DOMAIN, str(found.id), Verb.CHANGED))
    tx.run("DELETE FROM domain_name WHERE name = ?", act.other)
    return Outcome(_shown(tx, act.name), everything=True)


def remove_domain(tx: Transaction, act: RemoveDomain) -> Outcome[None]:
    """Only an empty one: nobody loses mail by a slip of the hand."""
    found = need_main_name(tx, act.name)
    number = need_domain(tx, act.name)
    held = tx.rows("SELECT kind, COUNT(*) FROM name WHERE domain = ? GROUP BY kind ORDER BY kind", number)
    if held:
        words = {Kind.ACCOUNT: "accounts", Kind.ALIAS: "aliases", Kind.GROUP: "groups"}
        counts = ", ".join(f"{count} {words[Kind(kind)]}" for kind, count in held)
        raise RookeryError(
            Cause.IN_USE,
            f"{found.name} still has {counts}; remove them first, accounts with --now: `rookery account list"
            f" {found.name}` shows also those removed and kept",
        )
    note(tx, act.at, (Kind.DOMAIN, str(number), Verb.DESTROYED))
    tx.run("DELETE FROM domain_name WHERE domain = ?", number)
    tx.run("DELETE FROM domain WHERE domain = ?", number)
    return Outcome(None, everything=True)
