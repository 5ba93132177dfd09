"""What an open account knows in memory is, after every act, what somebody who opens it anew would read."""

import asyncio
import tempfile
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from rookery.base.clock import ManualClock
from rookery.base.errors import RookeryError
from rookery.base.ids import system_random
from rookery.base.numberset import NumberSet
from rookery.storage.append import Append
from rookery.storage.gate import Gate
from rookery.storage.open_account import OpenAccount
from rookery.storage.store import Store
from rookery.storage.values import Appended, FlagMode
from tests.postgres import Postgres
from tests.storage.conftest import SMALL, staged
from tests.storage.hosts import Host, reads_on_the_loop
from tests.storage.world import account_id

ACCOUNT = account_id(1)

boxes = st.integers(1, 4)
uids = st.lists(st.tuples(st.integers(1, 30), st.integers(1, 30)), min_size=1, max_size=3).map(NumberSet)
words = st.sampled_from([(), ("a",), ("b", "c")])
acts = st.one_of(
    st.tuples(st.just("append"), boxes, st.integers(0, 31), words),
    st.tuples(st.just("deliver"), st.integers(1, 12)),
    st.tuples(st.just("flags"), boxes, uids, st.sampled_from(FlagMode), st.integers(0, 31), words),
    st.tuples(st.just("expunge"), boxes, st.none() | uids, st.booleans()),
    st.tuples(st.just("copy"), boxes, uids, boxes, st.booleans()),
    st.tuples(st.just("create"), st.sampled_from(["x", "x/y", "z"])),
    st.tuples(st.just("rename"), st.integers(2, 9), st.sampled_from(["x", "n/m"])),
    st.tuples(st.just("delete"), st.integers(5, 9)),
    st.tuples(st.just("subscribe"), st.sampled_from(["x", "nowhere"]), st.booleans()),
    st.tuples(st.just("select"), boxes),
)


@settings(max_examples=40, deadline=None)
@given(st.lists(acts, min_size=1, max_size=25))
def test_the_picture_is_the_database(history: list[tuple]) -> None:  # type: ignore[type-arg]
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_run(Path(folder) / "store", history))


@pytest.mark.postgres
@settings(max_examples=8, deadline=None)
@given(history=st.lists(acts, min_size=8, max_size=25))
def test_the_picture_is_the_shared_database(postgres: str, history: list[tuple]) -> None:  # type: ignore[type-arg]
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_run(Path(folder) / "store", history, Host(Postgres(postgres), "picture")))


async def _run(folder: Path, history: list[tuple], host: Host | None = None) -> None:  # type: ignore[type-arg]
    open_it = Store.open if host is None else host.open
    store = await open_it(folder, clock=ManualClock(), random=system_random, gate=Gate(), settings=SMALL)
    await store.create_account(ACCOUNT)
    opened = await store.open_account(ACCOUNT)
    opened.select(1)
    reads: list[str] = []
    if host is not None:  # then, with all that is copied from in memory, nothing is read on the event loop
        for box in (2, 3, 4):
            opened.select(box)
        reads = reads_on_the_loop(store)
    start = opened.modseq
    for act in history:
        reads.clear()
        try:
            await _act(store, opened, *act)
        except RookeryError:
            pass
        assert not reads or act[0] == "select"
        _compare(store, opened)
        _compare_changes(opened, start)
        start = opened.modseq
    await store.close()


async def _act(store: Store, opened: OpenAccount, kind: str, *more) -> None:  # type: ignore[no-untyped-def]
    if kind == "append":
        await opened.append(more[0], staged(store, b"x"), more[1], more[2])
    elif kind == "deliver":
        finished = asyncio.Event()
        results: list[Appended] = []

        def done(result) -> None:  # type: ignore[no-untyped-def]
            results.append(result)
            if len(results) == more[0]:
                finished.set()

        for _ in range(more[0]):
            store.append_soon(Append(ACCOUNT, staged(store, b"x")), done)
        await finished.wait()
    elif kind == "flags":
        await opened.set_flags(*more)
    elif kind == "expunge":
        await opened.expunge(more[0], more[1], force=more[2])
    elif kind == "copy":
        await (opened.move if more[3] else opened.copy)(*more[:3])
    elif kind == "create":
        await opened.create_mailbox(more[0])
    elif kind == "rename":
        await opened.rename_mailbox(*more)
    elif kind == "delete":
        await opened.delete_mailbox(more[0])
    elif kind == "subscribe":
        await opened.set_subscribed(*more)
    else:
        opened.select(more[0])


def _compare(store: Store, opened: OpenAccount) -> None:
    anew = OpenAccount(store, ACCOUNT)
    assert opened.modseq == anew.modseq
    assert opened.mailboxes() == anew.mailboxes()
    assert opened.usage() == anew.usage()
    assert opened.subscriptions() == anew.subscriptions()
    assert opened.keyword_names((1 << 62) - 1) == anew.keyword_names((1 << 62) - 1)
    for box in opened.mailboxes():
        state = opened._states.get(box.number)
        if state is not None:
            fresh = anew.select(box.number)
            assert (state.uids, state.flags, state.modseqs) == (fresh.uids, fresh.flags, fresh.modseqs)
            assert len(state) == box.messages


def _compare_changes(opened: OpenAccount, since: int) -> None:
    """Memory and log tell the same changes."""
    remembered = opened.changes(since)
    tail, opened._tail = opened._tail, type(opened._tail)(opened.modseq)
    logged = opened.changes(since)
    opened._tail = tail
    assert _flat(remembered) == _flat(logged)


def _flat(changes) -> list[tuple]:  # type: ignore[no-untyped-def,type-arg]
    """Births are told one by one in memory and in runs from the log."""
    return [(c.kind, c.verb, c.mailbox, uid, c.removed) for c in changes for uid in (c.uids if c.uids else [0])]
