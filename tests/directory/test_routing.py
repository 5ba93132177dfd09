"""Routing: what becomes of one recipient."""

from rookery.base.errors import Cause
from rookery.distribution.directory.administration import Administration
from rookery.distribution.directory.directory import Directory
from rookery.distribution.routing import Local, Refused, Remote, accepts, route


async def test_at_rcpt(site: Administration, directory: Directory) -> None:
    assert accepts(directory, "alice+x@d.test") is None
    assert accepts(directory, "postmaster") is None
    for address, cause in (
        ("nobody@d.test", Cause.NOT_FOUND),
        ("alice@outside.test", Cause.DENIED),
        ("alice@[192.0.2.1]", Cause.INVALID),
        ("", Cause.INVALID),
        ("x" * 1000, Cause.INVALID),
    ):
        refusal = accepts(directory, address)
        assert refusal
        assert refusal.cause is cause


async def test_before_delivery(site: Administration, directory: Directory) -> None:
    await site.add_group("all@d.test", ["alice@d.test", "gone@d.test", "x@outside.test"])
    one = route(directory, "Alice@D.test")
    assert isinstance(one, Local)
    assert [target.address for target in one.targets] == ["alice@d.test"]
    assert one.through == ""
    group = route(directory, "all@d.test")
    assert isinstance(group, Local)
    assert (group.outside, group.through, group.missing) == (("x@outside.test",), "all@d.test", ("gone@d.test",))
    assert route(directory, "Jo@Outside.test") == Remote("Jo@Outside.test", "outside.test")
    for address, cause in (("nobody@d.test", Cause.NOT_FOUND), ("no address", Cause.INVALID)):
        refused = route(directory, address)
        assert isinstance(refused, Refused)
        assert refused.refusal.cause is cause
