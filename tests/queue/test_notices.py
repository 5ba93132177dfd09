"""What senders are told, and that nobody is told for ever."""

from email import message_from_bytes, policy
from email.message import EmailMessage

from rookery.base.ids import AccountId
from rookery.distribution.queue.schedule import DAY, HOUR, MINUTE, Schedule
from rookery.formats.dsn import parse_status


def read(body: bytes) -> tuple[EmailMessage, str, object, str]:
    message = message_from_bytes(body, policy=policy.default)
    assert isinstance(message, EmailMessage)
    assert message.get_content_type() == "multipart/report"
    text, status, original = message.iter_parts()
    report = parse_status(body[body.index(b"Reporting-MTA") :].split(b"\r\n--=_")[0])
    assert status.get_content_type() == "message/delivery-status"
    return message, text.get_content(), report, original.get_content()


async def test_a_local_sender_is_told(site) -> None:
    message = await site.send("nobody@example.test", "bob@example.test", sender="eve@example.test", session="s1")
    await site.rest()
    mine, bounce = sorted(site.world.local.taken, key=lambda taken: taken.sender == "")
    assert mine.recipients == ("bob@example.test",)
    assert (bounce.sender, bounce.recipients) == ("", ("eve@example.test",))
    parsed, text, report, original = read(bounce.body)
    assert parsed["To"] == "eve@example.test"
    assert parsed["Auto-Submitted"] == "auto-replied"
    assert parsed["References"].strip() == "<one@remote.test>"
    assert "nobody@example.test" in text
    (status,) = report.recipients
    assert (status.final, status.status, status.action.value) == ("nobody@example.test", "5.1.1", "failed")
    assert "Subject: hello" in original
    assert "Hello." not in original
    (queued,) = [r for r in await site.control.trace("s1") if r.message != message]
    assert queued.sender == ""


async def test_one_notice_for_all_that_failed(site) -> None:
    site.world.add("other.test").answers["cat@other.test"] = "550 5.1.1 no cats"
    await site.send("nobody@example.test", "cat@other.test", "x@gone.test", sender="eve@example.test")
    await site.rest()
    (bounce,) = site.world.local.taken
    _, text, report, _ = read(bounce.body)
    assert sorted((s.final, s.status, s.remote, s.diagnostic) for s in report.recipients) == [
        ("cat@other.test", "5.1.1", "192.0.2.1.host", "550 5.1.1 no cats"),
        ("nobody@example.test", "5.1.1", "", "no such address"),
        ("x@gone.test", "5.1.2", "", "there is no domain gone.test"),
    ]
    assert "192.0.2.1.host said: 550 5.1.1 no cats" in text
    assert site.queue.counters["notices"] == 1


async def test_nobody_is_told_of_a_notice(site) -> None:
    """The postmaster is, once; and when even that fails it is over."""
    site.world.local.answers["eve@example.test"] = "550 5.1.1 gone"
    await site.send("nobody@example.test", sender="")
    await site.rest()
    assert site.world.local.taken == []
    assert site.queue.counters["notices"] == 1
    assert await site.control.waiting() == []


async def test_a_failed_notice_goes_to_the_postmaster(site) -> None:
    await site.send("nobody@example.test", sender="ann@gone.test")
    await site.rest()
    (told,) = site.world.local.taken
    assert (told.sender, told.recipients) == ("", ("eve@example.test",))
    assert site.queue.counters["notices"] == 2


async def test_expired_mail_is_returned(make_site) -> None:
    site = await make_site(schedule=Schedule(lifetime=DAY, retry=(HOUR,)))
    site.world.local.answers["bob@example.test"] = "451 4.3.0 not now"
    await site.send("bob@example.test", sender="eve@example.test")
    await site.rest()
    for _ in range(30):
        await site.later(HOUR)
    (bounce,) = site.world.local.taken
    _, text, report, _ = read(bounce.body)
    assert report.recipients[0].status == "5.4.7"
    assert "Delivery was tried for 1 day and is given up." in text


async def test_a_user_of_ours_is_told_of_a_delay_once(site) -> None:
    site.world.local.answers["bob@example.test"] = "451 4.3.0 not now"
    message = await site.send("bob@example.test", sender="eve@example.test", submitted_by=AccountId(b"e" * 16))
    await site.rest()
    await site.later(HOUR)
    assert site.world.local.taken == []
    for _ in range(10):
        await site.later(2 * HOUR)
    (told,) = site.world.local.taken
    _, text, report, _ = read(told.body)
    assert report.recipients[0].action.value == "delayed"
    assert "is delayed" in text
    assert await site.states(message) == {"bob@example.test": "deferred"}


async def test_others_are_not_told_of_delays(site) -> None:
    site.world.local.answers["bob@example.test"] = "451 4.3.0 not now"
    await site.send("bob@example.test", sender="eve@example.test")
    for _ in range(10):
        await site.later(2 * HOUR)
    assert site.world.local.taken == []


async def test_removed_with_and_without_a_word(site) -> None:
    site.world.local.answers["bob@example.test"] = "451 4.3.0 not now"
    quiet = await site.send("bob@example.test", sender="eve@example.test")
    told = await site.send("bob@example.test", sender="eve@example.test")
    await site.rest()
    assert await site.control.remove([quiet]) == 1
    assert await site.control.remove([told], notify=True) == 1
    await site.rest()
    assert await site.states(quiet) == {"bob@example.test": "removed"}
    assert await site.states(told) == {"bob@example.test": "failed"}
    (bounce,) = site.world.local.taken
    assert "removed from the queue by the administrator" in read(bounce.body)[1]


async def test_a_notice_of_many_failures_is_bounded(site) -> None:
    await site.send(*(f"n{n}@example.test" for n in range(1500)), sender="eve@example.test")
    await site.queue.pass_once()
    await site.rest()
    notices = site.world.local.taken
    assert sum(len(read(taken.body)[2].recipients) for taken in notices) >= 1000


async def test_headers_of_any_kind_are_returned_safely(site) -> None:
    body = b"Subject: gr\xfc\xdfe\r\nX-Long: " + b"x" * 5000 + b"\r\nFrom someone\r\n.\r\n\r\nbody\r\n"
    await site.send("nobody@example.test", sender="eve@example.test", body=body)
    await site.rest()
    (bounce,) = site.world.local.taken
    assert bounce.body.isascii()
    assert max(map(len, bounce.body.split(b"\r\n"))) < 998
    assert "x" * 5000 in read(bounce.body)[3]


async def test_late_only_by_minutes_is_not_late(site) -> None:
    site.world.local.answers["bob@example.test"] = "451 4.3.0 not now"
    await site.send("bob@example.test", sender="eve@example.test", submitted_by=AccountId(b"e" * 16))
    await site.rest()
    await site.later(10 * MINUTE)
    assert site.queue.counters["notices"] == 0
