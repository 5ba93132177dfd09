"""Operations on the opened parts of a site, where real processes are too coarse: half-made accounts, time, order."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from rookery.base import log
from rookery.base.clock import ManualClock
from rookery.base.errors import Cause, RookeryError
from rookery.distribution.spool.values import Incoming, Recipient
from rookery.management.operations.accounts import (
    add_account,
    list_accounts,
    make_missing,
    purge_expired,
    remove_account,
    restore_account,
    show_account,
)
from rookery.management.operations.domains import add_domain, show_domain
from rookery.management.operations.status import Health, all_healthy, health, status
from rookery.management.parts import Parts
from rookery.management.pooling import register_pool
from rookery.management.site import make_folders, open_site, write_config

ALICE = "alice@example.test"
DAY = 86400.0


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def parts(tmp_path: Path, clock: ManualClock) -> AsyncIterator[Parts]:
    site = make_folders(tmp_path / "site")
    write_config(site, {"site.domain": "example.test"})
    opened = await Parts.open(*open_site(site.folder), clock=clock)
    await add_domain(opened, "example.test")
    yield opened
    await opened.close()


async def test_an_account_that_the_store_missed_is_made_later(parts: Parts) -> None:
    record = await parts.administration.add_account(ALICE)
    with pytest.raises(RookeryError) as caught:
        await parts.store.open_account(record.account)
    assert caught.value.cause is Cause.NOT_FOUND
    await make_missing(parts)
    assert (await show_account(parts, ALICE)).messages == 0


async def test_a_store_that_refuses_says_so_and_is_asked_again(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    async def full(*_: object, **__: object) -> None:
        raise RookeryError(Cause.DISK_FULL, "the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(type(parts.store), "create_account", full)
        with pytest.raises(RookeryError, match="not its mailboxes yet: the disk is full"):
            await add_account(parts, ALICE, "secret")
    assert parts.incomplete
    await make_missing(parts)
    assert not parts.incomplete
    assert (await show_account(parts, ALICE)).messages == 0


async def test_a_removed_account_is_kept_for_its_time(parts: Parts, clock: ManualClock) -> None:
    await add_account(parts, ALICE, "secret")
    removed = await remove_account(parts, ALICE)
    assert removed.removed_until == int(clock.wall() + 30 * DAY)
    clock.advance(29 * DAY)
    assert await purge_expired(parts) == 0
    await restore_account(parts, ALICE)
    await remove_account(parts, ALICE)
    clock.advance(30 * DAY + 1)
    assert await purge_expired(parts) == 1
    assert await list_accounts(parts) == []
    with pytest.raises(RookeryError, match="there is no account"):
        await restore_account(parts, ALICE)


async def test_how_long_the_oldest_message_waits(parts: Parts, clock: ManualClock) -> None:
    assert (await status(parts)).queue.oldest_age == 0
    staging = parts.spool.stage()
    staging.write(b"Subject: x\r\n\r\n")
    await parts.spool.accept(Incoming("a@x.test", (Recipient("b@y.test"),), staging.finish()))
    clock.advance(90)
    assert (await status(parts)).queue.oldest_age == 90


async def test_limits_default_to_the_sites(parts: Parts) -> None:
    parts.config = replace(parts.config, quota=replace(parts.config.quota, size=1000, messages=7))
    row = await add_account(parts, ALICE, "secret")
    assert (row.size_limit, row.message_limit) == (1000, 7)
    usage = await parts.usage((await parts.administration.change_account(ALICE)).account)
    assert (usage.size_limit, usage.message_limit) == (1000, 7)


async def test_delivery_ids_are_not_forgotten_while_a_snapshot_needs_them(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    forgotten: list[str] = []

    async def note(_: object, below: str) -> None:
        forgotten.append(below)

    monkeypatch.setattr(type(parts.store), "forget_deliveries", note)
    with parts.delivery_ids.kept():
        await parts.delivery_ids.forget("a")
    await parts.delivery_ids.forget("b")
    assert forgotten == ["b"]


async def test_a_site_is_opened_once(parts: Parts) -> None:
    with pytest.raises(RookeryError, match="in use by process"):
        await Parts.open(parts.site, parts.config)


async def test_stopping_right_after_a_login_waits_for_the_new_hash(tmp_path: Path, clock: ManualClock) -> None:
    site = make_folders(tmp_path / "site")
    write_config(site, {"site.domain": "example.test"})
    opened = await Parts.open(*open_site(site.folder), clock=clock)
    await add_domain(opened, "example.test")
    await add_account(opened, ALICE, "{SSHA}5dFHPVES437byFNldXbyskNEmv1WzWER")
    before = dict(log.counts())
    await opened.authenticator.check_password(ALICE, "secret", protocol="imap", peer="192.0.2.1", session="s")
    await opened.close()
    assert log.counts().get(("auth", "rehash-failed"), 0) == before.get(("auth", "rehash-failed"), 0)
    opened = await Parts.open(*open_site(site.folder), clock=clock)
    record = opened.directory.account(ALICE)
    assert record is not None
    have = opened.directory.credentials(record.account)
    await opened.close()
    assert have is not None
    assert [row.data.startswith("{ARGON2ID}") for row in have.rows] == [True]


async def test_what_fails_for_one_reason_is_one_problem(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(*arguments: object) -> None:
        raise RookeryError(Cause.UNAVAILABLE, "away")

    assert (await health(parts)).problems == []
    monkeypatch.setattr(parts.store, "exclusive", away)
    monkeypatch.setattr(type(parts.directory), "find", away)
    assert (await health(parts)).problems == ["the store does not commit, the directory cannot be read: away"]


def test_health_of_several() -> None:
    good, drained, hung = Health(True, []), Health(True, [], draining=True), Health(False, ["the node does not answer"])
    assert all_healthy({"b1": good, "b2": good}) == good
    assert all_healthy({"b1": good, "b2": hung}) == Health(False, ["b2: the node does not answer"])
    one = all_healthy({"b1": good, "b2": drained})
    assert (one.ok, one.warnings) == (True, ["b2: it is being drained, until `rookery backend undrain b2`"])
    for found in ({"b1": drained, "b2": drained}, {"b1": drained, "b2": drained, "b3": hung}):
        none = all_healthy(found)
        assert not none.ok
        assert none.problems[-1].startswith("nobody can log in: b1 and b2 are drained")


async def test_a_node_makes_its_own_domain_once(parts: Parts) -> None:
    def with_domain(name: str) -> None:
        parts.config = replace(parts.config, site=replace(parts.config.site, own_domain=name))

    with_domain("n1.example.test")
    await register_pool(parts)
    made = await show_domain(parts, "n1.example.test")
    assert (made.local, made.pool, made.accounts) == (True, parts.config.store.pool, 1)
    assert (await show_account(parts, "postmaster@n1.example.test")).messages == 0
    before = parts.directory.last_change()
    await register_pool(parts)
    with_domain("example.test")  # which is shared
    await register_pool(parts)
    assert parts.directory.last_change() == before
    assert parts.registered


async def test_a_node_serves_while_its_own_domain_cannot_be_made(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    """The primary may be of a release that knows none; it is tried again."""

    async def unknown(*_: object) -> None:
        raise RookeryError(Cause.UNSUPPORTED, "this release does not know that act")

    parts.config = replace(parts.config, site=replace(parts.config.site, own_domain="n1.example.test"))
    with monkeypatch.context() as patch:
        patch.setattr(type(parts.pools), "add_local", unknown)
        await register_pool(parts)
    assert not parts.registered
    await register_pool(parts)
    assert parts.registered
    assert (await show_domain(parts, "n1.example.test")).local
