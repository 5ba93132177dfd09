"""What all rules of the directory share: the change log, the outcome, naming who holds an address.

A rule checks everything first and writes afterwards; it raises RookeryError only while it has written nothing, which
becomes a Refusal value, so that the others of its batch go on.
"""

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Generic, TypeVar

import msgspec

from rookery.base.errors import Cause, Refusal, RookeryError
from rookery.base.ids import AccountId
from rookery.distribution.directory import reads
from rookery.distribution.directory.addresses import Address
from rookery.distribution.directory.values import AccountRecord, AccountState, Kind, Pool, Verb
from rookery.storage.engine import KeyExists, Reader, Transaction

CHANGES_KEPT = 1_000_000  # rows of the change log; followers further behind start anew from a copy

_OF_THE_DATABASE = frozenset({Cause.UNAVAILABLE, Cause.DISK_FULL, Cause.CORRUPT})

A = TypeVar("A")
R = TypeVar("R")


class Outcome(msgspec.Struct, Generic[R], frozen=True):
    """The result, and what remembered things it made stale. `everything`: any of them."""

    value: R
    names: tuple[tuple[int, str], ...] = ()
    accounts: tuple[AccountId, ...] = ()
    everything: bool = False


def each(
    rule: Callable[[Transaction, A], Outcome[R]],
) -> Callable[[Transaction, Sequence[A]], list[Outcome[R] | Refusal]]:
    """A rule for one thing as a rule for a batch."""

    def apply(tx: Transaction, items: Sequence[A]) -> list[Outcome[R] | Refusal]:
        results: list[Outcome[R] | Refusal] = []
        for item in items:
            try:
                results.append(rule(tx, item))
            except RookeryError as error:
                if error.cause in _OF_THE_DATABASE:  # raised by a statement, perhaps after others: the batch is lost
                    raise
                results.append(error.refusal)
            except KeyExists:  # another node came between our look and our write; alone, the item is refused
                raise RookeryError(
                    Cause.EXISTS, "that name was taken by somebody else at this moment; look what it is now"
                ) from None
        return results

    return wraps(rule)(apply)  # its types say how it is sent to another node


def note(tx: Transaction, at: int, *changes: tuple[Kind, str | None, Verb]) -> int:
    """Write change-log rows, and wake those that follow the log; returns the number of the last.

    Every row that an act changes belongs to an object that is named here, but for last logins and what is free in a
    pool: a replica gets what the log names. None: the number of the change is the object's.
    """
    tx.run("UPDATE counter SET value = value + ? WHERE name = 'changes'", len(changes))
    last = reads.last_change(tx)
    first = last - len(changes) + 1
    rows = [
        (first + i, kind.value, str(first + i) if object is None else object, verb.value, at)
        for i, (kind, object, verb) in enumerate(changes)
    ]
    tx.insert_many("change", ("number", "kind", "object", "verb", "at"), rows)
    tx.run("DELETE FROM change WHERE number <= ?", last - CHANGES_KEPT)
    tx.announce()
    return last


def no_domain(name: str) -> Refusal:
    return Refusal(
        Cause.NOT_FOUND,
        f"there is no domain {name[:255]}; add it with `rookery domain add`, or see `rookery domain list`",
    )


def no_account(address: object) -> Refusal:
    return Refusal(
        Cause.NOT_FOUND,
        f"there is no account {str(address)[:320]}; add it with `rookery account add`, or see `rookery account list`",
    )


def no_pool(name: str) -> Refusal:
    return Refusal(Cause.NOT_FOUND, f"there is no pool {name[:80]}; see `rookery pool list`")


def is_removed(address: str) -> Refusal:
    return Refusal(Cause.CONFLICT, f"{address} is removed; bring it back first: `rookery account restore {address}`")


def refused(refusal: Refusal) -> RookeryError:
    return RookeryError(refusal.cause, refusal.what)


def need_domain(reader: Reader, name: str) -> int:
    number = reads.domain_number(reader, name)
    if number is None:
        raise refused(no_domain(name))
    return number


def need_pool(reader: Reader, name: str) -> Pool:
    for pool in reads.pools(reader):
        if pool.name == name:
            return pool
    raise refused(no_pool(name))


def need_free(reader: Reader, address: Address, *, ours: bytes = b"") -> int:
    """The number of the domain in which `address` is free, or held by the object `ours`. Names who holds it if not."""
    number = need_domain(reader, address.domain)
    held = reads.entry(reader, number, address.local)
    if held is not None and held.object != ours:
        raise RookeryError(Cause.EXISTS, taken_text(reader, address, held))
    return number


def taken_text(reader: Reader, address: Address, held: reads.Entry) -> str:
    if held.kind is not Kind.ACCOUNT:
        kind = "alias" if held.kind is Kind.ALIAS else "group"
        return f"{address} is {'an' if kind == 'alias' else 'a'} {kind} already; see `rookery {kind} show {address}`"
    record = reads.account(reader, held.object)
    if record is not None and record.state is AccountState.REMOVED:
        return (
            f"{address} is a removed account that is kept; bring it back with `rookery account restore {address}`,"
            f" or remove it for good with `rookery account remove {address} --now`"
        )
    return f"{address} is an account already; see `rookery account show {address}`"


def need_account(reader: Reader, account: AccountId) -> AccountRecord:
    record = reads.account(reader, account)
    if record is None:
        raise RookeryError(
            Cause.NOT_FOUND, "the account is gone, removed by somebody else meanwhile; see `rookery account list`"
        )
    return record
