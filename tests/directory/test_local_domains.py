"""Domains that are local to a pool: every account of them is in it, and stays."""

from collections.abc import Awaitable

import pytest

from rookery.base.clock import ManualClock
from rookery.base.errors import Cause, RookeryError
from rookery.distribution.directory.administration import AccountLine, Administration
from rookery.distribution.directory.directory import Directory
from rookery.distribution.directory.pools import PoolAdministration
from rookery.distribution.directory.values import AccountRecord, PoolBackend, PoolKind, Resolved


@pytest.fixture
async def pools(site: Administration, directory: Directory) -> PoolAdministration:
    """Of a directory with the pools a, which is this node's and has alice and bob, and b."""
    directory.copies.clustered = True
    made = PoolAdministration(directory)
    for name in ("a", "b"):
        await made.register(name, PoolKind.STATIC, f"store-{name}", PoolBackend(name, "h:143", "h:24"))
    made.recognise("store-a")
    return made


def where(directory: Directory, address: str) -> str:
    record = directory.account(address)
    assert record
    pool = directory.pool_of(record)
    return pool.name if pool is not None else ""


async def refused(cause: Cause, act: Awaitable[object]) -> str:
    with pytest.raises(RookeryError) as caught:
        await act
    assert caught.value.cause is cause
    return caught.value.what


async def test_its_accounts_are_in_its_pool_alone(
    site: Administration, pools: PoolAdministration, directory: Directory
) -> None:
    made = await pools.add_local("N2.test", "b")
    assert (made.name, made.local, made.pool) == ("n2.test", True, pools.need("b").id)
    assert directory.domain("n2.test") == made
    await site.add_account("carol@n2.test")
    await site.add_account("dave@n2.test", pool="b")
    assert where(directory, "carol@n2.test") == where(directory, "dave@n2.test") == "b"
    assert "n2.test is local to a pool" in await refused(Cause.CONFLICT, site.add_account("e@n2.test", pool="a"))
    await refused(Cause.NOT_FOUND, site.add_account("e@n2.test", pool="c"))
    results = await site.add_accounts([AccountLine("f@n2.test", pool="a"), AccountLine("g@n2.test")])
    assert [isinstance(one, AccountRecord) for one in results] == [False, True]
    await refused(Cause.CONFLICT, site.rename_account("alice@d.test", "alice@n2.test"))
    await site.rename_account("carol@n2.test", "carol@d.test")  # which takes her mail nowhere else
    await site.rename_account("carol@d.test", "caroline@n2.test")
    assert where(directory, "caroline@n2.test") == "b"
    await site.add_domain_alias("n2.test", "n2.example")
    await refused(Cause.CONFLICT, site.add_account("e@n2.example", pool="a"))


async def test_of_the_first_pool_too(site: Administration, pools: PoolAdministration, directory: Directory) -> None:
    """Whose accounts are known by having no pool."""
    made = await pools.add_local("n1.test")
    assert made.pool == pools.need("a").id == directory.here
    await site.add_account("carol@n1.test")
    await site.rename_account("alice@d.test", "alice@n1.test")
    assert where(directory, "alice@n1.test") == where(directory, "carol@n1.test") == "a"
    await site.add_account("dave@d.test", pool="b")
    await refused(Cause.CONFLICT, site.rename_account("dave@d.test", "dave@n1.test"))


async def test_aliases_and_groups_lead_anywhere(
    site: Administration, pools: PoolAdministration, directory: Directory
) -> None:
    await pools.add_local("n2.test", "b")
    await site.add_alias("info@n2.test", ["alice@d.test", "x@outside.test"])
    found = directory.resolve("info@n2.test")
    assert isinstance(found, Resolved)
    assert [target.address for target in found.targets] == ["alice@d.test"]


async def test_one_with_accounts_elsewhere_cannot_be_made_local(
    site: Administration, pools: PoolAdministration, directory: Directory
) -> None:
    said = await refused(Cause.IN_USE, pools.make_local("d.test", "b"))
    assert "alice@d.test is not in pool b" in said
    assert (await pools.make_local("d.test", "a")).local
    assert "--shared" in await refused(Cause.CONFLICT, pools.assign_domain("d.test", "b"))
    await refused(Cause.IN_USE, pools.make_local("d.test", "b"))
    shared = await pools.share("d.test")
    assert (shared.local, shared.pool) == (False, directory.here)
    await site.add_account("carol@d.test", pool="b")
    assert "carol@d.test is not in pool a" in await refused(Cause.IN_USE, pools.make_local("d.test", "a"))
    await refused(Cause.EXISTS, pools.add_local("d.test", "a"))
    await refused(Cause.NOT_FOUND, pools.add_local("new.test", "c"))
    await refused(Cause.NOT_FOUND, pools.make_local("new.test", "a"))
    assert directory.domain("new.test") is None
    assert "assigned to pool b" in await refused(Cause.IN_USE, _emptied(site, pools))


async def _emptied(site: Administration, pools: PoolAdministration) -> None:
    await pools.add_local("n2.test", "b")
    record = await site.remove_account("carol@d.test", keep=0)
    await site.purge_account(record.account)
    await pools.remove("b")


async def test_a_node_without_a_pool_names_one(pools: PoolAdministration, directory: Directory) -> None:
    directory.here = 0
    assert "--pool" in await refused(Cause.CONFLICT, pools.add_local("n3.test"))


async def test_its_postmaster_is_nobody_elsewhere(
    site: Administration, pools: PoolAdministration, directory: Directory, clock: ManualClock
) -> None:
    """The administrators of the site may be away with their nodes."""

    def keepers(address: str) -> list[str]:
        found = directory.resolve(address)
        assert isinstance(found, Resolved)
        return [target.address for target in found.targets]

    await site.change_account("alice@d.test", admin=True)
    await pools.add_local("n2.test", "b")
    assert keepers("abuse@n2.test") == ["alice@d.test"]  # for lack of anybody
    await site.add_account("postmaster@n2.test")
    clock.advance(1)
    await site.add_account("carol@n2.test")
    assert keepers("abuse@n2.test") == keepers("postmaster@n2.test") == ["postmaster@n2.test"]
    assert keepers("abuse@d.test") == keepers("postmaster") == ["alice@d.test"]


async def test_it_is_the_default_domain_for_lack_of_others_only(admin: Administration, directory: Directory) -> None:
    pools = PoolAdministration(directory)
    await pools.register("a", PoolKind.STATIC, "store-a", PoolBackend("a", "h:143", "h:24"))
    await pools.add_local("n1.test")
    assert directory.default_domain == "n1.test"
    await admin.add_domain("d.test")
    assert directory.default_domain == "d.test"
