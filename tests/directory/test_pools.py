"""Pools: registered, added, changed, removed; which of them has an account; on one node and as others see it."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from rookery.base.clock import ManualClock
from rookery.base.config.tree import Placing
from rookery.base.errors import Cause, RookeryError
from rookery.base.ids import system_random
from rookery.distribution.auth.hasher import Hasher
from rookery.distribution.directory import acts
from rookery.distribution.directory.administration import AccountLine, Administration
from rookery.distribution.directory.directory import Directory
from rookery.distribution.directory.opening import MIGRATIONS, ensure_site, open_directory
from rookery.distribution.directory.pools import PoolAdministration
from rookery.distribution.directory.rules_pools import AddPool, ReportFree
from rookery.distribution.directory.values import Pool, PoolBackend, PoolKind
from rookery.storage.gate import Gate
from rookery.storage.sqlite import SqliteDatabase

STATIC, DYNAMIC = PoolKind.STATIC, PoolKind.DYNAMIC
A1 = PoolBackend("a1", "127.0.5.1:143", "127.0.5.1:24")
B1 = PoolBackend("b1", "127.0.5.2:143", "127.0.5.2:24")
B2 = PoolBackend("b2", "127.0.5.3:143", "127.0.5.3:24")


@pytest.fixture
async def pools(site: Administration, directory: Directory) -> PoolAdministration:
    """Of a directory with the pool a, this node's, and alice and bob in it."""
    made = PoolAdministration(directory)
    await made.register("a", STATIC, "store-a", A1)
    return made


async def add(directory: Directory, name: str, free: int | None = None) -> Pool:
    """By the rule itself: on SQLite the act is refused, for no node could be of that pool."""
    made = await directory.act(acts.ADD_POOL, AddPool(name, STATIC, f"{name}.test:143", f"{name}.test:24", 0))
    if free is not None:
        await directory.act(acts.REPORT_FREE, ReportFree(made.id, free))
    return made


def where(directory: Directory, address: str) -> str:
    record = directory.account(address)
    assert record
    pool = directory.pool_of(record)
    return pool.name if pool is not None else ""


async def refused(cause: Cause, act: object) -> str:
    with pytest.raises(RookeryError) as caught:
        await act  # type: ignore[misc]
    assert caught.value.cause is cause
    return caught.value.what


async def test_a_node_registers_its_pool_once(pools: PoolAdministration, directory: Directory) -> None:
    (made,) = directory.pools()
    assert (made.id, made.name, made.kind, made.open, made.free) == (directory.here, "a", STATIC, True, None)
    assert (made.addresses, made.lmtp_addresses) == (("127.0.5.1:143",), ("127.0.5.1:24",))
    before = directory.last_change()
    await pools.register("a", STATIC, "store-a", A1)
    assert directory.last_change() == before
    await pools.register("a", STATIC, "store-a", replace_address(A1))
    assert pools.need("a").addresses == ("127.0.5.9:143",)
    await pools.register("renamed", STATIC, "store-a", A1)
    assert [pool.name for pool in directory.pools()] == ["renamed"]
    assert where(directory, "alice@d.test") == "renamed"


def replace_address(backend: PoolBackend) -> PoolBackend:
    return PoolBackend(backend.backend, "127.0.5.9:143", backend.lmtp)


async def test_accounts_that_there_were_before_are_in_the_first_pool(
    pools: PoolAdministration, directory: Directory
) -> None:
    await add(directory, "b")
    assert where(directory, "alice@d.test") == where(directory, "postmaster") == "a"
    assert directory.accounts_of_pools() == Counter({directory.here: 2})


async def test_an_account_goes_where_it_is_told(
    site: Administration, pools: PoolAdministration, directory: Directory
) -> None:
    b = await add(directory, "b")
    await site.add_account("carol@d.test", pool="b")
    await site.add_account("dave@d.test", pool="a")
    assert [where(directory, f"{name}@d.test") for name in ("carol", "dave")] == ["b", "a"]
    carol, dave = directory.account("carol@d.test"), directory.account("dave@d.test")
    assert carol
    assert dave
    assert directory.elsewhere(carol.account) == b
    assert directory.elsewhere(dave.account) is None
    assert directory.accounts_of_pools() == Counter({directory.here: 3, b.id: 1})
    assert "pool list" in await refused(Cause.NOT_FOUND, site.add_account("eve@d.test", pool="c"))
    assert directory.account("eve@d.test") is None
    assert {record.address: record.pool for record in directory.accounts("d.test")}["carol@d.test"] == b.id
    await site.rename_account("carol@d.test", "caroline@d.test")
    assert where(directory, "caroline@d.test") == "b"


async def test_a_domain_has_a_pool(site: Administration, pools: PoolAdministration, directory: Directory) -> None:
    b = await add(directory, "b")
    assert (await pools.assign_domain("d.test", "b")).pool == b.id
    found = directory.domain("d.test")
    assert found
    assert found.pool == b.id
    await site.add_account("carol@d.test")
    await site.add_account("dave@d.test", pool="a")
    assert [where(directory, f"{name}@d.test") for name in ("alice", "carol", "dave")] == ["a", "b", "a"]
    await site.rename_domain("d.test", "e.test")
    assert "domain change e.test" in await refused(Cause.IN_USE, remove_accounts_and_pool(site, directory, pools))
    await pools.assign_domain("e.test", "")
    await site.add_account("eve@e.test")
    assert where(directory, "eve@e.test") == "a"
    await pools.remove("b")
    await refused(Cause.NOT_FOUND, pools.assign_domain("e.test", "b"))


async def remove_accounts_and_pool(site: Administration, directory: Directory, pools: PoolAdministration) -> None:
    record = await site.remove_account("carol@e.test", keep=0)
    await site.purge_account(record.account)
    await pools.remove("b")


@pytest.mark.parametrize(
    ("placing", "expected"),
    [
        (Placing.HERE, "aaaa"),
        (Placing.ROUND_ROBIN, "bcab"),
        (Placing.FEWEST_ACCOUNTS, "bcbc"),
        (Placing.MOST_SPACE, "cccc"),
    ],
)
async def test_policies(
    site: Administration, pools: PoolAdministration, directory: Directory, placing: Placing, expected: str
) -> None:
    await add(directory, "b", free=5)
    await add(directory, "c", free=9)
    directory.settings = replace(directory.settings, placing=placing)
    await site.add_accounts([AccountLine(f"u{n}@d.test") for n in range(1, 4)])
    await site.add_account("u4@d.test")
    assert "".join(where(directory, f"u{n}@d.test") for n in range(1, 5)) == expected


async def test_a_closed_pool_is_not_chosen(
    site: Administration, pools: PoolAdministration, directory: Directory
) -> None:
    await add(directory, "b", free=5)
    await add(directory, "c")
    assert not (await pools.change("b", open=False)).open
    directory.settings = replace(directory.settings, placing=Placing.FEWEST_ACCOUNTS)
    await site.add_accounts([AccountLine(f"u{n}@d.test") for n in range(1, 6)])
    assert [where(directory, f"u{n}@d.test") for n in range(1, 6)] == ["c", "c", "a", "c", "a"]
    await site.add_account("u6@d.test", pool="b")
    assert where(directory, "u6@d.test") == "b"


async def test_a_node_whose_pool_is_not_known_asks_for_one(site: Administration, directory: Directory) -> None:
    assert where(directory, "alice@d.test") == ""
    await refused(Cause.CONFLICT, add(directory, "b"))  # it would have the accounts that there are
    pools = PoolAdministration(directory)
    await pools.register("a", STATIC, "store-a", A1)
    directory.here = 0
    assert "--pool" in await refused(Cause.CONFLICT, site.add_account("carol@d.test"))
    await site.add_account("carol@d.test", pool="a")
    pools.recognise("store-a")
    assert directory.here == pools.need("a").id


async def test_addresses_by_hand_count_in_place_of_those_of_backends(
    pools: PoolAdministration, directory: Directory
) -> None:
    changed = await pools.change("a", address="mail.example.test", lmtp="[2001:db8::1]:2424")
    assert (changed.addresses, changed.lmtp_addresses) == (("mail.example.test:143",), ("[2001:db8::1]:2424",))
    assert (await pools.change("a", address="")).addresses == (A1.address,)
    assert "host:port" in await refused(Cause.INVALID, pools.change("a", lmtp="mail.example.test:x"))
    assert "pool list" in await refused(Cause.NOT_FOUND, pools.change("z", open=True))


async def test_removed_when_nothing_is_in_it(
    site: Administration, pools: PoolAdministration, directory: Directory
) -> None:
    await add(directory, "b")
    await refused(Cause.EXISTS, add(directory, "b"))
    await site.add_account("carol@d.test", pool="b")
    assert "1 accounts" in await refused(Cause.IN_USE, pools.remove("b"))
    assert "postmaster" in await refused(Cause.IN_USE, pools.remove("a"))
    record = await site.remove_account("carol@d.test", keep=0)
    assert directory.expired_accounts() == []  # its own pool's affair
    await site.purge_account(record.account)
    await pools.remove("b")
    assert [pool.name for pool in directory.pools()] == ["a"]


async def test_only_its_own_removed_accounts_are_a_nodes_affair(
    site: Administration, pools: PoolAdministration, directory: Directory
) -> None:
    b = await add(directory, "b")
    await site.add_account("carol@d.test", pool="b")
    for name in ("alice", "carol"):
        await site.remove_account(f"{name}@d.test", keep=0)
    for here, expected in ((directory.here, ["alice"]), (b.id, ["carol"]), (0, [])):
        directory.here = here
        assert [record.address for record in directory.expired_accounts()] == [f"{name}@d.test" for name in expected]


# --- several nodes ----------------------------------------------------------------------------------------------------

Node = Callable[[], Directory]


@pytest.mark.postgres
async def test_other_nodes_see_pools_and_places(node: Node) -> None:
    here, there = node(), node()
    admin, ours, theirs = Administration(there), PoolAdministration(here), PoolAdministration(there)
    await admin.add_domain("d.test")
    await admin.add_account("alice@d.test")
    assert where(here, "alice@d.test") == ""
    await ours.register("a", DYNAMIC, "store-a", A1)
    await theirs.register("b", STATIC, "store-b", B1)
    carol = await admin.add_account("carol@d.test")
    for directory in (here, there):
        await directory.catch_up()
        assert [where(directory, f"{name}@d.test") for name in ("alice", "carol")] == ["a", "b"]
    assert there.elsewhere(carol.account) is None
    pool = here.elsewhere(carol.account)
    assert pool
    assert pool.addresses == (B1.address,)
    await theirs.register("b", STATIC, "store-b", B2)
    await here.catch_up()
    pool = here.elsewhere(carol.account)
    assert pool
    assert pool.lmtp_addresses == (B1.lmtp, B2.lmtp)
    await ours.change("b", forget_backend="b1")
    await there.catch_up()
    assert theirs.need("b").lmtp_addresses == (B2.lmtp,)
    await refused(Cause.NOT_FOUND, ours.change("b", forget_backend="b1"))


@pytest.mark.postgres
async def test_a_name_belongs_to_one_store(node: Node) -> None:
    first, second = PoolAdministration(node()), PoolAdministration(node())
    await first.register("main", STATIC, "store-1", A1)
    said = await refused(Cause.CONFLICT, second.register("main", STATIC, "store-2", B1))
    assert "pool change main --forget-store" in said
    await second.register("other", STATIC, "store-2", B1)
    await refused(Cause.CONFLICT, second.register("main", STATIC, "store-2", B1))
    await first.change("main", forget_store=True)
    await refused(Cause.CONFLICT, second.register("main", STATIC, "store-2", B1))  # it has a pool
    await PoolAdministration(node()).register("main", DYNAMIC, "store-3", B2)
    assert first.need("main").store == "store-3"


@pytest.mark.postgres
async def test_a_pool_is_added_before_its_nodes_come(node: Node) -> None:
    here, there = PoolAdministration(node()), PoolAdministration(node())
    await here.register("a", STATIC, "store-a", A1)
    made = await here.add("b", DYNAMIC, "b.example.test", "b.example.test")
    assert (made.addresses, made.lmtp_addresses) == (("b.example.test:143",), ("b.example.test:24",))
    joined = await there.register("b", DYNAMIC, "store-b", B1)
    assert (joined.id, joined.addresses) == (made.id, made.addresses)
    await refused(Cause.INVALID, here.add("no name", STATIC, "", ""))


@pytest.mark.postgres
async def test_of_the_copies_of_a_store_the_promoted_one_serves(node: Node) -> None:
    """Each folder comes with the generation that it says of itself."""
    old, new = PoolAdministration(node()), PoolAdministration(node())
    await old.register("a", STATIC, "store-a", A1)
    promoted = await new.promote("store-a", 1)
    assert promoted.generation == 2
    said = await refused(Cause.CONFLICT, old.register("a", STATIC, "store-a", A1))
    assert "has generation 2, this folder 1" in said
    with pytest.raises(RookeryError, match="another copy of this store was promoted"):
        old.confirm("store-a", 1)
    new.confirm("store-a", 2)
    assert (await new.register("a", STATIC, "store-a", B1, generation=2)).generation == 2
    assert (await old.promote("store-a", 1)).generation == 3  # the other way round
    await refused(Cause.CONFLICT, new.register("a", STATIC, "store-a", B1, generation=2))
    await refused(Cause.NOT_FOUND, new.promote("store-b", 1))


@pytest.mark.postgres
async def test_a_directory_restored_from_before_a_promotion_takes_over_what_the_folder_says(node: Node) -> None:
    first, second = PoolAdministration(node()), PoolAdministration(node())
    await first.register("a", STATIC, "store-a", A1)
    assert (await second.register("a", STATIC, "store-a", B1, generation=4)).generation == 4
    await refused(Cause.CONFLICT, first.register("a", STATIC, "store-a", A1))
    await second.change("a", forget_store=True)
    assert (await first.register("a", STATIC, "store-c", A1)).generation == 1


async def test_a_directory_that_nobody_shares_knows_no_copies(pools: PoolAdministration, directory: Directory) -> None:
    if directory.shared:
        return
    await pools.register("a", STATIC, "store-a", A1, generation=3)
    await pools.register("a", STATIC, "store-a", A1, generation=1)
    said = await refused(Cause.UNSUPPORTED, pools.promote("store-a", 1))
    assert "a site of its own" in said


async def test_one_pool_where_nobody_shares_the_directory(pools: PoolAdministration, directory: Directory) -> None:
    if directory.shared:
        return
    said = await refused(Cause.UNSUPPORTED, pools.add("b", STATIC, "b.test", "b.test"))
    assert "directory.database" in said
    await pools.register("a", STATIC, "another-store", A1)  # as after a restored snapshot
    assert [pool.store for pool in directory.pools()] == ["another-store"]
    pools.recognise("whichever")
    assert directory.here == directory.pools()[0].id


@pytest.mark.postgres
async def test_a_store_without_their_mail_does_not_get_the_accounts(node: Node) -> None:
    directory = node()
    admin, pools = Administration(directory), PoolAdministration(directory)
    await admin.add_domain("d.test")
    await admin.add_account("alice@d.test")
    said = await refused(Cause.CONFLICT, pools.register("b", STATIC, "store-b", B1, has_mail=False))
    assert "has it first" in said
    await pools.register("a", STATIC, "store-a", A1)
    await pools.register("b", STATIC, "store-b", B1, has_mail=False)


# --- the release before pools -----------------------------------------------------------------------------------------


async def test_a_directory_without_pools_goes_on(tmp_path: Path, hasher: Hasher) -> None:
    """Also while a node of the release before writes to it, which names the columns that it knows."""
    path, clock = tmp_path / "d.db", ManualClock()
    domain = "INSERT INTO domain (domain, name, created) VALUES (?, ?, 0)"
    with SqliteDatabase(path, MIGRATIONS[:1]) as former:
        ensure_site(former, clock, system_random, 64)
        with former.write() as tx:
            tx.run(domain, 11, "old.test")
            tx.run("INSERT INTO domain_name (name, domain) VALUES ('old.test', 11)")
    directory = open_directory(path, clock=clock, gate=Gate(), hasher=hasher)
    try:
        assert where(directory, "postmaster") == ""
        await PoolAdministration(directory).register("a", STATIC, "store-a", A1)
        assert where(directory, "postmaster") == "a"
        with SqliteDatabase(path, MIGRATIONS[:1]) as former, former.write() as tx:
            tx.run(domain, 12, "new.test")
            tx.run("INSERT INTO domain_name (name, domain) VALUES ('new.test', 12)")
        assert [found.pool for found in directory.domains()] == [0, 0]
    finally:
        await directory.close()


async def test_a_backend_of_the_release_before_tells_no_cluster_port(tmp_path: Path, hasher: Hasher) -> None:
    path, clock = tmp_path / "d.db", ManualClock()
    directory = open_directory(path, clock=clock, gate=Gate(), hasher=hasher)
    try:
        pools = PoolAdministration(directory)
        new = PoolBackend("a1", A1.address, A1.lmtp, "127.0.5.1:7143")
        assert (await pools.register("a", STATIC, "store-a", A1)).backends == (A1,)
        assert (await pools.register("a", STATIC, "store-a", new)).backends == (new,)  # it was restarted as a member
        columns = ("pool", "backend", "address", "lmtp")
        with SqliteDatabase(path, MIGRATIONS) as former, former.write() as tx:
            tx.insert_many("pool_backend", columns, [(directory.here, B1.backend, B1.address, B1.lmtp)])
        (pool,) = directory.pools()
        assert [one.cluster for one in pool.backends] == ["127.0.5.1:7143", ""]
    finally:
        await directory.close()
