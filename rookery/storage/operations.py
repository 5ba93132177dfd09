"""The store's operations by name, with the types of what they take and give, so that one can be carried out here or, in
a cluster, on the host that has the account.

An operation is a rule over a batch of items: plain functions, no asyncio, no SQL dialect, no protocol words. A write
function touches exactly one account per item.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import msgspec

from rookery.base.errors import Refusal
from rookery.base.numberset import NumberSet
from rookery.storage.accounts import (
    CreateAccount,
    RemoveAccount,
    SetLimits,
    SetState,
    create_accounts,
    remove_accounts,
    set_limits,
    set_states,
)
from rookery.storage.append import AppendItem, append_batch
from rookery.storage.batch import Batch, Done
from rookery.storage.copy import CopiedSlice, Copy, copy
from rookery.storage.engine import Transaction
from rookery.storage.expunge import Expunge, ExpungedSlice, expunge
from rookery.storage.flags import FlaggedSlice, SetFlags, set_flags
from rookery.storage.mailboxes import (
    CreateMailbox,
    DeleteMailbox,
    Made,
    RenameMailbox,
    SetSubscribed,
    create_mailbox,
    delete_mailbox,
    rename_mailbox,
    set_subscribed,
)
from rookery.storage.values import Appended

A = TypeVar("A")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Operation(Generic[A, R]):
    """`apply(tx, batch, items)` answers each item with a result or a refusal, in order."""

    name: str
    argument: type[A]
    result: type[R]
    apply: Callable[[Transaction, Batch, Sequence[A]], Sequence[R | Refusal]]


CREATE_ACCOUNT = Operation("create-account", CreateAccount, Done, create_accounts)
SET_LIMITS = Operation("set-limits", SetLimits, Done, set_limits)
SET_STATE = Operation("set-state", SetState, Done, set_states)
REMOVE_ACCOUNT = Operation("remove-account", RemoveAccount, Done, remove_accounts)
APPEND = Operation("append", AppendItem, Appended, append_batch)
SET_FLAGS = Operation("set-flags", SetFlags, FlaggedSlice, set_flags)
EXPUNGE = Operation("expunge", Expunge, ExpungedSlice, expunge)
COPY = Operation("copy", Copy, CopiedSlice, copy)
CREATE_MAILBOX = Operation("create-mailbox", CreateMailbox, Made, create_mailbox)
RENAME_MAILBOX = Operation("rename-mailbox", RenameMailbox, Made, rename_mailbox)
DELETE_MAILBOX = Operation("delete-mailbox", DeleteMailbox, Done, delete_mailbox)
SET_SUBSCRIBED = Operation("set-subscribed", SetSubscribed, Done, set_subscribed)

OPERATIONS: dict[str, Operation[Any, Any]] = {
    operation.name: operation
    for operation in (
        CREATE_ACCOUNT,
        SET_LIMITS,
        SET_STATE,
        REMOVE_ACCOUNT,
        APPEND,
        SET_FLAGS,
        EXPUNGE,
        COPY,
        CREATE_MAILBOX,
        RENAME_MAILBOX,
        DELETE_MAILBOX,
        SET_SUBSCRIBED,
    )
}


def encode(value: object) -> bytes:
    """An argument or result as octets."""
    return msgspec.msgpack.encode(value, enc_hook=_to_plain)


def decode(data: bytes, kind: type[R]) -> R:
    """Raises msgspec.ValidationError when the octets are not of that type."""
    return msgspec.msgpack.decode(data, type=kind, dec_hook=_from_plain)


def _to_plain(value: object) -> str:
    if isinstance(value, NumberSet):
        return str(value)
    raise TypeError(f"cannot be sent: {type(value).__name__}")


def _from_plain(kind: type, value: object) -> NumberSet:
    if kind is NumberSet and isinstance(value, str):
        return NumberSet.parse(value)
    raise TypeError(f"not expected: {kind.__name__}")
