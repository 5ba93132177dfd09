"""Aliases and groups: made, changed, found in loops, expanded."""

import pytest

from rookery.base.errors import Cause, RookeryError
from rookery.distribution.directory.administration import Administration
from rookery.distribution.directory.directory import Directory
from rookery.distribution.directory.resolve import DEPTH_LIMIT, Known
from rookery.distribution.directory.rules_expansions import MEMBERS_LIMIT, TARGETS_LIMIT
from rookery.distribution.directory.values import NotLocal, Resolved, Unknown


def _resolved(directory: Directory, address: str) -> Resolved:
    found = directory.resolve(address)
    assert isinstance(found, Resolved), found
    return found


def _finals(directory: Directory, address: str) -> list[str]:
    return [target.address for target in _resolved(directory, address).targets]


async def test_an_alias_leads_anywhere(site: Administration, directory: Directory) -> None:
    made = await site.add_alias("Info@d.test", ["Alice@d.test", "Jo.Bloggs@Elsewhere.TEST", "alice@d.test"])
    assert made.targets == ("Alice@d.test", "Jo.Bloggs@elsewhere.test") or made.targets == (
        "alice@d.test",
        "Jo.Bloggs@elsewhere.test",
    )
    assert directory.alias("info@d.test") == made
    assert directory.group("info@d.test") is None
    found = _resolved(directory, "info@d.test")
    assert [target.address for target in found.targets] == ["alice@d.test"]
    assert found.outside == ("Jo.Bloggs@elsewhere.test",)
    assert found.through == "info@d.test"
    changed = await site.change_alias("info@d.test", ["bob@d.test"])
    assert changed.targets == ("bob@d.test",)
    assert _finals(directory, "info@d.test") == ["bob@d.test"]
    await site.rename_alias("info@d.test", "office@d.test")
    assert isinstance(directory.resolve("info@d.test"), Unknown)
    assert _finals(directory, "office@d.test") == ["bob@d.test"]
    assert [alias.address for alias in directory.aliases()] == ["office@d.test"]
    await site.remove_alias("office@d.test")
    assert isinstance(directory.resolve("office@d.test"), Unknown)
    assert list(directory.aliases("d.test")) == []


async def test_a_group_has_members_and_groups(site: Administration, directory: Directory) -> None:
    await site.add_group("team@d.test", ["alice@d.test", "x@outside.test"], "The team")
    await site.add_group("all@d.test", ["team@d.test", "bob@d.test", "alice@d.test"])
    found = _resolved(directory, "all@d.test")
    assert sorted(target.address for target in found.targets) == ["alice@d.test", "bob@d.test"]
    assert found.outside == ("x@outside.test",)
    group = await site.change_group("team@d.test", name="Team", add=["bob@d.test"], remove=["X@outside.test"])
    assert group.name == "Team"
    assert group.members == ("alice@d.test", "bob@d.test")
    assert directory.group("team@d.test") == group
    assert [found.address for found in directory.groups()] == ["all@d.test", "team@d.test"]
    with pytest.raises(RookeryError, match="not a member"):
        await site.change_group("team@d.test", remove=["nobody@d.test"])
    group = await site.change_group("team@d.test", members=[])
    assert group.members == ()
    assert isinstance(directory.resolve("team@d.test"), Unknown)  # it leads to nobody
    assert directory.known("team@d.test") is Known.UNKNOWN
    await site.rename_group("team@d.test", "crew@d.test")
    await site.remove_group("crew@d.test")
    assert _resolved(directory, "all@d.test").missing == ("team@d.test",)


async def test_details(site: Administration, directory: Directory) -> None:
    await site.add_alias("info@d.test", ["alice@d.test", "bob+work@d.test"])
    await site.add_group("all@d.test", ["alice@d.test"])
    await site.add_account("exact+name@d.test")
    assert _finals(directory, "alice+Lists@d.test") == ["alice+Lists@d.test"]
    assert _finals(directory, "ALICE@D.test") == ["alice@d.test"]
    assert _finals(directory, "info+x@d.test") == ["alice+x@d.test", "bob+work@d.test"]
    assert _finals(directory, "all+x@d.test") == ["alice@d.test"]
    assert _finals(directory, "exact+name@d.test") == ["exact+name@d.test"]
    assert isinstance(directory.resolve("exact@d.test"), Unknown)
    assert isinstance(directory.resolve("+alice@d.test"), Unknown)


async def test_loops_are_refused_and_named(site: Administration) -> None:
    with pytest.raises(RookeryError, match=r"loop: a@d\.test -> a@d\.test"):
        await site.add_alias("a@d.test", ["A@d.test"])
    await site.add_alias("b@d.test", ["a@d.test"])
    await site.add_group("c@d.test", ["b@d.test", "alice@d.test"])
    with pytest.raises(RookeryError, match=r"loop: a@d\.test -> c@d\.test -> b@d\.test -> a@d\.test") as caught:
        await site.add_alias("a@d.test", ["bob@d.test", "c@d.test"])
    assert caught.value.cause is Cause.INVALID
    await site.add_alias("a@d.test", ["bob@d.test"])
    with pytest.raises(RookeryError, match="loop"):
        await site.change_alias("a@d.test", ["c+x@d.test"])


async def test_a_loop_that_arises_later_ends(site: Administration, directory: Directory) -> None:
    await site.add_alias("a@d.test", ["b@new.test", "alice@d.test"])
    await site.add_domain("new.test")
    await site.add_domain("other.test")
    await site.add_alias("b@other.test", ["a@d.test", "bob@d.test"])
    await site.remove_domain("new.test")
    await site.rename_domain("other.test", "new.test")  # now a -> b -> a
    assert sorted(_finals(directory, "a@d.test")) == ["alice@d.test", "bob@d.test"]


async def test_depth_and_size_are_bounded(site: Administration, directory: Directory) -> None:
    previous = "alice@d.test"
    for i in range(DEPTH_LIMIT + 1):
        await site.add_alias(f"step{i}@d.test", [previous])
        previous = f"step{i}@d.test"
    assert _finals(directory, f"step{DEPTH_LIMIT - 1}@d.test") == ["alice@d.test"]
    with pytest.raises(RookeryError) as caught:
        directory.resolve(previous)
    assert caught.value.cause is Cause.TOO_MANY
    with pytest.raises(RookeryError) as caught:
        await site.add_alias("many@d.test", [f"u{i}@outside.test" for i in range(TARGETS_LIMIT + 1)])
    assert caught.value.cause is Cause.TOO_MANY


async def test_a_large_group(site: Administration, directory: Directory) -> None:
    members = [f"u{i}@outside.test" for i in range(MEMBERS_LIMIT)]
    await site.add_group("large@d.test", members)
    assert list(_resolved(directory, "large@d.test").outside) == members
    with pytest.raises(RookeryError):
        await site.change_group("large@d.test", add=["one@more.test"])


@pytest.mark.parametrize("target", ["", "alice", "postmaster", "a b@d.test", "x@[192.0.2.1]", "x@d..test"])
async def test_bad_targets(site: Administration, target: str) -> None:
    with pytest.raises(RookeryError) as caught:
        await site.add_alias("info@d.test", [target])
    assert caught.value.cause is Cause.INVALID


async def test_acts_on_what_is_not_there(site: Administration) -> None:
    for act in (
        site.change_alias("alice@d.test", ["bob@d.test"]),
        site.remove_alias("nobody@d.test"),
        site.remove_group("x@no.test"),
        site.change_group("nobody@d.test"),
    ):
        with pytest.raises(RookeryError) as caught:
            await act
        assert caught.value.cause is Cause.NOT_FOUND
    with pytest.raises(RookeryError, match="needs a target"):
        await site.add_alias("info@d.test", [])


async def test_the_short_answer(site: Administration, directory: Directory) -> None:
    await site.add_alias("info@d.test", ["x@outside.test"])
    assert directory.known("Alice+x@d.test") is Known.LOCAL
    assert directory.known("info@d.test") is Known.LOCAL
    assert directory.known("nobody@d.test") is Known.UNKNOWN
    assert directory.known("alice@outside.test") is Known.NOT_LOCAL
    assert directory.known("Postmaster@d.test") is Known.LOCAL
    assert directory.known("postmaster") is Known.LOCAL
    assert directory.resolve("x@outside.test") == NotLocal("outside.test")
    await site.remove_account("alice@d.test")
    assert directory.known("alice@d.test") is Known.UNKNOWN
    with pytest.raises(RookeryError):
        directory.known("no address")
