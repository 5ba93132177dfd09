"""Work that may take long, in threads of its own: taking apart what others have sent.

The event loop goes on meanwhile: what is called here is Python that lets others in between, and no single step of it
is long. Few threads, and one of them at a time for each account, in turn: so many such messages at once cost their
readers time, and nobody else.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar
from weakref import WeakValueDictionary

from rookery.base.ids import AccountId

THREADS = 2
OCTETS = 64 * 1024  # of mail that may be taken apart on the event loop in one turn

T = TypeVar("T")

_turns: WeakValueDictionary[AccountId, asyncio.Lock] = WeakValueDictionary()  # of accounts that have work here
_pool = ThreadPoolExecutor(THREADS, thread_name_prefix="imap-aside")


async def aside(account: AccountId, work: Callable[[], T]) -> T:
    """`work` must touch nothing that belongs to the event loop. It waits for what `account` has asked for before."""
    turn = _turns.get(account)
    if turn is None:
        turn = _turns[account] = asyncio.Lock()
    async with turn:
        return await asyncio.get_running_loop().run_in_executor(_pool, work)
