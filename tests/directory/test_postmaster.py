"""postmaster and abuse of every domain, and the bare postmaster, always reach somebody (RFC 5321 4.5.1, RFC 2142)."""

import pytest

from rookery.base.clock import ManualClock
from rookery.base.errors import Cause, RookeryError
from rookery.distribution.directory.administration import Administration
from rookery.distribution.directory.directory import Directory
from rookery.distribution.directory.values import Resolved


def _finals(directory: Directory, address: str) -> list[str]:
    found = directory.resolve(address)
    assert isinstance(found, Resolved), found
    return [target.address for target in found.targets]


async def test_who_reads_them(admin: Administration, directory: Directory, clock: ManualClock) -> None:
    assert _finals(directory, "postmaster") == ["postmaster"]  # the built-in account, from init
    await admin.add_domain("d.test")
    await admin.add_domain("e.test")
    for address in ("postmaster@d.test", "ABUSE@d.test", "Postmaster", "postmaster+x@e.test"):
        assert _finals(directory, address) == ["postmaster"]
    await admin.add_account("first@d.test")  # the oldest account of the domain
    clock.advance(1)
    await admin.add_account("a@d.test")
    assert _finals(directory, "abuse@d.test") == _finals(directory, "postmaster") == ["first@d.test"]
    assert _finals(directory, "abuse@e.test") == ["postmaster"]
    await admin.change_account("a@d.test", admin=True)  # administrators of the site
    for address in ("postmaster@d.test", "abuse@e.test", "postmaster"):
        assert _finals(directory, address) == ["a@d.test"]
    await admin.add_alias("abuse@e.test", ["first@d.test"])  # whoever is set
    assert _finals(directory, "abuse@e.test") == ["first@d.test"]
    await admin.add_account("postmaster@e.test")
    assert _finals(directory, "postmaster@e.test") == ["postmaster@e.test"]


async def test_every_answer_resolves_to_itself(admin: Administration, directory: Directory) -> None:
    """The queue expands step by step: a final address must be an account when it is looked at again."""

    def check() -> None:
        for address in ("postmaster", "postmaster@d.test", "abuse@e.test", "info@d.test", "abuse+x@d.test"):
            for final in _finals(directory, address):
                found = directory.resolve(final)
                assert isinstance(found, Resolved)
                if final != "postmaster" or not found.through:
                    assert found.through == ""
                    assert [target.address for target in found.targets] == [final]

    await admin.add_domain("d.test")
    await admin.add_domain("e.test")
    await admin.add_alias("info@d.test", ["abuse@d.test"])
    check()
    found = directory.resolve("postmaster")
    assert isinstance(found, Resolved)
    assert found.through == ""
    await admin.add_account("first@e.test")
    check()
    await admin.add_account("first@d.test")
    check()
    await admin.change_account("first@e.test", admin=True)
    check()


async def test_they_cannot_be_removed(admin: Administration, directory: Directory) -> None:
    await admin.add_domain("d.test")
    await admin.add_account("a@d.test", admin=True)
    await admin.add_alias("postmaster@d.test", ["gone@d.test"])  # leads nowhere
    assert _finals(directory, "postmaster@d.test") == ["a@d.test"]
    await admin.remove_alias("postmaster@d.test")
    assert _finals(directory, "postmaster@d.test") == ["a@d.test"]
    await admin.add_account("abuse@d.test")
    await admin.remove_account("abuse@d.test")
    assert _finals(directory, "abuse@d.test") == ["a@d.test"]
    await admin.remove_account("a@d.test")
    assert _finals(directory, "abuse@d.test") == ["postmaster"]
    for act in (
        admin.remove_account("postmaster", keep=0),
        admin.rename_account("postmaster", "x@d.test"),
        admin.change_account("postmaster", enabled=False),
    ):
        with pytest.raises(RookeryError) as caught:
            await act
        assert caught.value.cause is Cause.DENIED


async def test_as_members(admin: Administration, directory: Directory) -> None:
    await admin.add_domain("d.test")
    await admin.add_alias("info@d.test", ["postmaster@d.test"])
    assert _finals(directory, "info@d.test") == ["postmaster"]
    await admin.add_alias("postmaster@d.test", ["x@outside.test"])
    found = directory.resolve("info@d.test")
    assert isinstance(found, Resolved)
    assert found.outside == ("x@outside.test",)
