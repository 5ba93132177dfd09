"""Domains: added, renamed, other names, removed when empty."""

import pytest

from rookery.base.errors import Cause, RookeryError
from rookery.distribution.directory.administration import Administration
from rookery.distribution.directory.directory import Directory
from rookery.distribution.directory.values import NotLocal, Resolved


async def test_added_and_shown(admin: Administration, directory: Directory) -> None:
    made = await admin.add_domain("Bücher.TEST")
    assert made.name == "xn--bcher-kva.test"
    assert directory.domain("bücher.test") == made
    assert directory.domain("XN--BCHER-KVA.test") == made
    assert directory.domain("no such domain") is None
    assert directory.is_local("xn--bcher-kva.test")
    await admin.add_domain("a.test")
    assert [domain.name for domain in directory.domains()] == ["a.test", "xn--bcher-kva.test"]
    assert directory.default_domain == "xn--bcher-kva.test"  # the oldest


async def test_twice_is_refused_by_name(admin: Administration) -> None:
    await admin.add_domain("d.test")
    await admin.add_domain_alias("d.test", "d.example")
    for name, words in (("D.test", "there is a domain d.test"), ("d.example", "another name of the domain d.test")):
        with pytest.raises(RookeryError, match=words) as caught:
            await admin.add_domain(name)
        assert caught.value.cause is Cause.EXISTS


@pytest.mark.parametrize("name", ["", "a b", "../x", "-a.test", "a..b", "a" * 64, "10.0.0.1", "[10.0.0.1]"])
async def test_bad_names(admin: Administration, name: str) -> None:
    with pytest.raises(RookeryError) as caught:
        await admin.add_domain(name)
    assert caught.value.cause is Cause.INVALID


async def test_renamed_with_everything_in_it(site: Administration, directory: Directory) -> None:
    await site.add_domain("other.test")
    await site.add_alias("info@other.test", ["alice@d.test", "X@outside.test"])
    before = directory.account("alice@d.test")
    assert before
    assert isinstance(directory.resolve("alice@d.test"), Resolved)
    renamed = await site.rename_domain("d.test", "new.test")
    assert renamed.name == "new.test"
    after = directory.account("alice@new.test")
    assert after
    assert after.account == before.account
    assert after.address == "alice@new.test"
    assert directory.account("alice@d.test") is None
    assert directory.resolve("alice@d.test") == NotLocal("d.test")
    alias = directory.alias("info@other.test")
    assert alias
    assert alias.targets == ("alice@new.test", "X@outside.test")


async def test_a_domain_may_take_the_name_of_its_own_alias(site: Administration, directory: Directory) -> None:
    await site.add_domain_alias("d.test", "new.test")
    await site.rename_domain("d.test", "new.test")
    found = directory.domain("new.test")
    assert found
    assert found.aliases == ()
    await site.add_domain_alias("new.test", "d.test")
    assert directory.account("alice@d.test") == directory.account("alice@new.test")


async def test_other_names_have_all_addresses(site: Administration, directory: Directory) -> None:
    assert directory.resolve("alice@d.example") == NotLocal("d.example")
    await site.add_domain_alias("d.test", "d.example")
    found = directory.resolve("alice+x@d.example")
    assert isinstance(found, Resolved)
    assert [target.address for target in found.targets] == ["alice+x@d.test"]
    with pytest.raises(RookeryError) as caught:
        await site.add_account("alice@d.example")
    assert caught.value.cause is Cause.EXISTS
    await site.remove_domain_alias("d.test", "d.example")
    assert directory.resolve("alice@d.example") == NotLocal("d.example")


async def test_removed_only_when_empty(site: Administration, directory: Directory) -> None:
    await site.add_alias("info@d.test", ["alice@d.test"])
    with pytest.raises(RookeryError, match="2 accounts, 1 aliases") as caught:
        await site.remove_domain("d.test")
    assert caught.value.cause is Cause.IN_USE
    await site.remove_alias("info@d.test")
    for address in ("alice@d.test", "bob@d.test"):
        record = await site.remove_account(address, keep=0)
        await site.purge_account(record.account)
    await site.remove_domain("d.test")
    assert directory.domain("d.test") is None
    assert list(directory.domains()) == []


async def test_acts_on_what_is_not_there(site: Administration) -> None:
    await site.add_domain_alias("d.test", "d.example")
    for act, cause in (
        (site.rename_domain("no.test", "new.test"), Cause.NOT_FOUND),
        (site.remove_domain("no.test"), Cause.NOT_FOUND),
        (site.remove_domain("d.example"), Cause.INVALID),
        (site.add_domain_alias("no.test", "x.test"), Cause.NOT_FOUND),
        (site.remove_domain_alias("d.test", "x.test"), Cause.NOT_FOUND),
        (site.add_account("x@no.test"), Cause.NOT_FOUND),
    ):
        with pytest.raises(RookeryError) as caught:
            await act
        assert caught.value.cause is cause
