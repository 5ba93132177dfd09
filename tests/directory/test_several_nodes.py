"""Several nodes accept writes to one directory: numbers, names and what each remembers of the others' work."""

import asyncio
import threading
from collections.abc import Callable

import pytest

from rookery.base.clock import ManualClock
from rookery.base.errors import Cause, RookeryError
from rookery.distribution.auth.hasher import Hasher
from rookery.distribution.directory.administration import Administration
from rookery.distribution.directory.directory import Directory
from rookery.distribution.directory.opening import MIGRATIONS, directory_on
from rookery.distribution.directory.shared import open_shared_directory
from rookery.distribution.directory.values import AccountRecord, NotLocal, Resolved, Unknown
from rookery.storage.gate import Gate
from tests.directory.conftest import SETTINGS
from tests.postgres import Postgres, Wire

pytestmark = pytest.mark.postgres

Node = Callable[[], Directory]


async def test_nodes_that_start_at_once_have_one_secret_and_one_postmaster(node: Node) -> None:
    nodes = [node() for _ in range(3)]
    assert len({directory.secrets.steady_salt("nobody@d.test") for directory in nodes}) == 1
    assert len({directory.account("postmaster") for directory in nodes}) == 1


async def test_an_address_is_given_once(node: Node) -> None:
    nodes = [Administration(node()) for _ in range(3)]
    await nodes[0].add_domain("d.test")
    work = [admin.add_account(f"u{n}@d.test") for n in range(15) for admin in nodes]
    work += [admin.add_alias(f"u{n}@d.test", ["postmaster@d.test"]) for n in range(15) for admin in nodes]  # type: ignore[misc]
    results = await asyncio.gather(*work, return_exceptions=True)
    refused = [result.cause for result in results if isinstance(result, RookeryError)]
    assert refused == [Cause.EXISTS] * (len(work) - 15)


async def test_the_keys_decide_where_nodes_write_at_the_same_moment(
    fresh_postgres: Postgres, clock: ManualClock, hasher: Hasher
) -> None:
    """Without the one writer that the directory asks for, nothing is given twice either."""
    nodes = [
        directory_on(fresh_postgres.open(MIGRATIONS), clock=clock, gate=Gate(), hasher=hasher, settings=SETTINGS)
        for _ in range(3)
    ]
    await Administration(nodes[0]).add_domain("d.test")
    work = [Administration(node).add_account(f"u{n}@d.test") for n in range(10) for node in nodes]
    results = await asyncio.gather(*work, return_exceptions=True)
    assert [result.cause for result in results if isinstance(result, RookeryError)] == [Cause.EXISTS] * 20
    assert nodes[0].count_accounts() == 10
    for node in nodes:
        await node.close()


async def test_numbers_are_given_once_and_rise_in_order_of_commit(node: Node) -> None:
    nodes = [node() for _ in range(3)]
    admins = [Administration(directory) for directory in nodes]
    names = [(admin, f"d{n}x{i}.test") for n in range(10) for i, admin in enumerate(admins)]
    domains = await asyncio.gather(*(admin.add_domain(name) for admin, name in names))
    assert len({domain.id for domain in domains}) == 30
    changes = nodes[0].changes(0, 100)
    assert [change.number for change in changes] == list(range(1, len(changes) + 1))


async def test_everything_that_another_node_changes_counts_here(node: Node) -> None:
    here, there = node(), node()
    admin = Administration(there)

    async def after(act: object) -> None:
        await act  # type: ignore[misc]
        await here.catch_up()

    assert isinstance(here.resolve("a@d.test"), NotLocal)
    await after(admin.add_domain("d.test"))
    assert isinstance(here.resolve("a@d.test"), Unknown)
    await after(admin.add_account("a@d.test"))
    first = here.account("a@d.test")
    assert first == there.account("a@d.test")
    assert first
    before = here.credentials(first.account)
    await after(admin.add_app_password("a@d.test", "phone"))
    assert here.credentials(first.account) == there.credentials(first.account) != before
    await after(admin.change_account("a@d.test", name="A"))
    assert (here.account("a@d.test") or first).name == "A"
    assert isinstance(here.resolve("list@d.test"), Unknown)
    await after(admin.add_alias("list@d.test", ["a@d.test"]))
    assert isinstance(here.resolve("list@d.test"), Resolved)
    await after(admin.change_alias("list@d.test", targets=["x@else.test"]))
    found = here.resolve("list@d.test")
    assert isinstance(found, Resolved)
    assert found.outside == ("x@else.test",)
    await after(admin.rename_account("a@d.test", "b@d.test"))
    assert isinstance(here.resolve("a@d.test"), Unknown)
    assert isinstance(here.resolve("b@d.test"), Resolved)
    await after(admin.remove_account("b@d.test", keep=0))
    await after(admin.purge_account(first.account))
    assert here.account("b@d.test") is None
    await after(admin.add_account("b@d.test"))
    again = here.account("b@d.test")
    assert again
    assert again.account != first.account
    await after(admin.remove_alias("list@d.test"))
    assert isinstance(here.resolve("list@d.test"), Unknown)


async def test_a_wake_up_comes_by_itself_and_tells_the_watchers(node: Node) -> None:
    here, there = node(), node()
    told = asyncio.Event()
    here.watch(told.set)
    await Administration(there).add_domain("d.test")
    async with asyncio.timeout(20):
        await told.wait()
    assert here.is_local("d.test")


async def test_a_log_that_lost_rows_makes_everything_stale(node: Node, fresh_postgres: Postgres) -> None:
    here, there = node(), node()
    admin = Administration(there)
    await admin.add_domain("d.test")
    await admin.add_account("a@d.test")
    await here.catch_up()
    assert here.account("a@d.test")
    await admin.change_account("a@d.test", name="A")
    fresh_postgres.run(f"DELETE FROM {fresh_postgres.schema}.change")
    await here.catch_up()
    assert here.account("a@d.test") == there.account("a@d.test")


def _through(wire: Wire, postgres: Postgres, clock: ManualClock, hasher: Hasher) -> Directory:
    """Another node, whose way to the server can be cut; it finds what is there by now."""
    return open_shared_directory(
        wire.uri, clock=clock, gate=Gate(), hasher=hasher, settings=SETTINGS, schema=postgres.schema
    )


async def test_who_is_known_stays_known_while_the_database_is_away(
    fresh_postgres: Postgres, wire: Wire, node: Node, hasher: Hasher, clock: ManualClock
) -> None:
    admin = Administration(node())
    await admin.add_domain("d.test")
    await admin.add_account("a@d.test")
    here = _through(wire, fresh_postgres, clock, hasher)
    known = here.account("a@d.test")
    wire.stop()
    for act in (here.catch_up(), Administration(here).add_account("b@d.test")):
        with pytest.raises(RookeryError) as caught:
            await act
        assert caught.value.cause is Cause.UNAVAILABLE
    assert here.account("a@d.test") == known
    with pytest.raises(RookeryError) as caught:
        here.account("c@d.test")
    assert caught.value.cause is Cause.UNAVAILABLE
    await admin.add_account("c@d.test")
    wire.go_on()
    clock.advance(10)
    await here.catch_up()
    assert here.account("c@d.test")
    assert here.account("b@d.test") is None
    await here.close()


async def test_looking_aside_keeps_no_loop_and_is_remembered(
    fresh_postgres: Postgres, wire: Wire, node: Node, hasher: Hasher, clock: ManualClock
) -> None:
    admin = Administration(node())
    await admin.add_domain("d.test")
    await admin.add_account("a@d.test")
    here = _through(wire, fresh_postgres, clock, hasher)
    wire.speaking.clear()
    looking = asyncio.create_task(here.find(_login))
    await asyncio.sleep(0)  # were it read here, this test would stand still
    assert not looking.done()
    wire.speaking.set()
    found = await looking
    wire.stop()
    assert here.ask(_login) == found
    wire.go_on()
    await here.close()


async def test_what_changed_while_a_thread_looked_is_not_remembered(node: Node) -> None:
    here = node()
    admin = Administration(here)
    await admin.add_domain("d.test")
    await admin.add_account("a@d.test")
    read, go_on = threading.Event(), threading.Event()

    def look(directory: Directory) -> AccountRecord | None:
        found = _login(directory)
        read.set()
        assert go_on.wait(30)
        return found

    looking = asyncio.create_task(here.aside(look))
    assert await asyncio.to_thread(read.wait, 30)
    await admin.change_account("a@d.test", name="Anna")
    go_on.set()
    old = await looking
    assert old is not None
    assert old.name == ""
    now = here.login_account("a@d.test")
    assert now is not None
    assert now.name == "Anna"


def _login(directory: Directory) -> AccountRecord | None:
    record = directory.login_account("a@d.test")
    assert record is not None
    directory.credentials(record.account)
    return record


async def test_ended_sessions_are_made_anew(node: Node, fresh_postgres: Postgres) -> None:
    here = node()
    admin = Administration(here)
    await admin.add_domain("d.test")
    fresh_postgres.end_sessions()
    await admin.add_account("a@d.test")
    fresh_postgres.end_sessions()
    assert here.account("a@d.test")
    await here.catch_up()
