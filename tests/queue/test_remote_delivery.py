"""To other hosts, by MX, by addresses, by smarthost."""

import asyncio

import pytest

from rookery.distribution.delivery.hosts import Smarthost
from rookery.distribution.delivery.remote import RemoteSettings
from rookery.distribution.queue.schedule import MINUTE
from rookery.net.resolver import MailHost


async def fate(site, message: str) -> tuple[str, str, str]:
    (recipient,) = (await site.control.show(message)).recipients
    return recipient.state, recipient.enhanced, recipient.text


async def test_relayed(site) -> None:
    server = site.world.add("other.test")
    message = await site.send("cat@other.test")
    await site.rest()
    (taken,) = server.taken
    assert taken.body.endswith(b"\r\n\r\n.Hello.\r\n")
    assert "SIZE=" in taken.mail_line
    assert await fate(site, message) == ("relayed", "2.0.0", "taken")
    assert "DATA" in server.commands
    assert server.commands[-1] == "QUIT"


async def test_recipients_of_one_domain_share_a_transaction(site) -> None:
    server = site.world.add("other.test")
    server.answers["dog@other.test"] = "550 5.1.1 no dogs"
    message = await site.send("cat@other.test", "dog@other.test", "cow@Other.TEST")
    await site.rest()
    (taken,) = server.taken
    assert taken.recipients == ("cat@other.test", "cow@Other.TEST")
    assert (await site.states(message))["dog@other.test"] == "failed"


async def test_more_than_a_hundred_recipients_are_split(site) -> None:
    server = site.world.add("other.test")
    await site.send(*(f"u{n}@other.test" for n in range(250)))
    await site.rest()
    assert [len(taken.recipients) for taken in server.taken] == [100, 100, 50]
    assert server.connections == 1


async def test_the_next_host_when_one_is_down(site) -> None:
    site.world.add("other.test", address="192.0.2.1")
    backup = site.world.add("other.test", address="192.0.2.2")
    del site.world.servers["192.0.2.1", 25]
    message = await site.send("cat@other.test")
    await site.rest()
    assert len(backup.taken) == 1
    assert site.world.dialled == [("192.0.2.1", 25), ("192.0.2.2", 25)]
    assert (await fate(site, message))[0] == "relayed"


@pytest.mark.parametrize("greeting", ["421 4.3.2 busy", "554 5.7.1 no service"])
async def test_a_host_that_does_not_talk_is_passed_over(site, greeting: str) -> None:
    site.world.add("other.test", address="192.0.2.1").answers["greeting"] = greeting
    message = await site.send("cat@other.test")
    await site.rest()
    state, enhanced, _ = await fate(site, message)
    assert (state, enhanced[0]) == ("deferred", "4")


async def test_a_host_that_never_takes_mail(site) -> None:
    site.world.add("other.test").answers["greeting"] = "521 5.3.2 no mail here"
    message = await site.send("cat@other.test")
    await site.rest()
    assert (await fate(site, message))[0] == "failed"


@pytest.mark.parametrize(
    ("domain", "records", "expected"),
    [
        ("gone.test", None, ("failed", "5.1.2")),
        ("slow.test", None, ("deferred", "4.4.3")),
        ("null.test", [MailHost(0, "")], ("failed", "5.1.10")),
        ("self.test", [MailHost(10, "node.test")], ("failed", "5.4.6")),
        ("nohost.test", [MailHost(10, "nowhere.test")], ("failed", "5.4.4")),
    ],
)
async def test_what_dns_says(site, domain: str, records: list[MailHost] | None, expected: tuple[str, str]) -> None:
    if records is not None:
        site.world.mx[domain] = records
    message = await site.send(f"cat@{domain}")
    await site.rest()
    assert (await fate(site, message))[:2] == expected


async def test_only_better_hosts_than_ourselves(site) -> None:
    better = site.world.add("other.test", address="192.0.2.1")
    site.world.mx["other.test"] += [MailHost(10, "node.test"), MailHost(20, "192.0.2.9.host")]
    site.world.addresses_of["192.0.2.9.host"] = ["192.0.2.9"]
    better.answers["greeting"] = "421 busy"
    await site.send("cat@other.test")
    await site.rest()
    assert site.world.dialled == [("192.0.2.1", 25)]


async def test_no_mx_means_the_domains_own_address(site) -> None:
    site.world.add("other.test")
    site.world.addresses_of["plain.test"] = ["192.0.2.1"]
    message = await site.send("cat@plain.test")
    await site.rest()
    assert (await fate(site, message))[0] == "relayed"


async def test_address_literal(site) -> None:
    server = site.world.add("other.test", address="2001:db8::1")
    await site.send("cat@[IPv6:2001:db8::1]")
    await site.rest()
    assert server.taken[0].recipients == ("cat@[IPv6:2001:db8::1]",)


async def test_a_host_with_our_own_name_is_a_loop(site) -> None:
    site.world.add("other.test").name = "node.test"
    message = await site.send("cat@other.test")
    await site.rest()
    assert (await fate(site, message))[:2] == ("failed", "5.4.6")


async def test_our_own_address_is_a_loop(make_site) -> None:
    site = await make_site(hosts={"own_ports": frozenset({25})})
    server = site.world.add("other.test", address="198.51.100.1")
    message = await site.send("cat@other.test")
    await site.rest()
    assert (await fate(site, message))[:2] == ("failed", "5.4.6")
    assert server.taken == []


async def test_smarthost_takes_everything(make_site) -> None:
    site = await make_site(smarthost=Smarthost("smart.test", 587))
    site.world.add("smart", address="192.0.2.7", port=587)
    site.world.addresses_of["smart.test"] = ["192.0.2.7"]
    await site.send("cat@other.test", "dog@elsewhere.test")
    await site.rest()
    assert sorted(taken.recipients[0] for taken in site.world.servers["192.0.2.7", 587].taken) == [
        "cat@other.test", "dog@elsewhere.test",
    ]  # fmt: skip


async def test_smarthost_login_on_this_machine(make_site) -> None:
    site = await make_site(smarthost=Smarthost("127.0.0.1", 587, "me", "secret"))
    server = site.world.add("smart", address="127.0.0.1", port=587)
    server.offers = ("PIPELINING", "AUTH PLAIN")
    site.world.addresses_of["127.0.0.1"] = ["127.0.0.1"]
    server.answers["AUTH"] = "235 2.7.0 welcome"
    await site.send("cat@other.test")
    await site.rest()
    assert "AUTH PLAIN AG1lAHNlY3JldA==" in server.commands
    assert len(server.taken) == 1


async def test_a_password_is_never_sent_in_clear(make_site) -> None:
    site = await make_site(smarthost=Smarthost("smart.test", 587, "me", "secret"))
    server = site.world.add("smart", address="192.0.2.7", port=587)
    server.offers = ("AUTH PLAIN",)
    site.world.addresses_of["smart.test"] = ["192.0.2.7"]
    message = await site.send("cat@other.test")
    await site.rest()
    assert not any(command.startswith("AUTH") for command in server.commands)
    assert (await fate(site, message))[:2] == ("deferred", "4.7.10")


# --- what the peer cannot take


async def test_too_large_for_the_peer(site) -> None:
    server = site.world.add("other.test")
    server.offers = ("SIZE 50",)
    message = await site.send("cat@other.test")
    await site.rest()
    assert (await fate(site, message))[:2] == ("failed", "5.3.4")
    assert "DATA" not in server.commands


async def test_smtputf8_where_it_is_not_offered(site) -> None:
    server = site.world.add("other.test")
    message = await site.send("käthe@other.test", smtputf8=True)
    header = await site.send("cat@other.test", smtputf8=True, body="Subject: grüße\r\n\r\n".encode())
    unneeded = await site.send("cat@other.test", smtputf8=True)
    await site.rest()
    assert (await fate(site, message))[:2] == ("failed", "5.6.7")
    assert (await fate(site, header))[:2] == ("failed", "5.6.7")
    assert (await fate(site, unneeded))[0] == "relayed"
    assert "SMTPUTF8" not in server.taken[0].mail_line


async def test_smtputf8_where_it_is(site) -> None:
    server = site.world.add("other.test")
    server.offers = ("PIPELINING", "SMTPUTF8")
    await site.send("käthe@other.test", smtputf8=True)
    await site.rest()
    assert server.taken[0].recipients == ("käthe@other.test",)
    assert server.taken[0].mail_line.endswith(" SMTPUTF8")


async def test_a_domain_has_a_form_in_ascii(site) -> None:
    server = site.world.add("grüße.test")
    site.world.mx["xn--gre-6ka8l.test"] = site.world.mx["grüße.test"]
    await site.send("cat@grüße.test")
    await site.rest()
    assert server.taken[0].recipients == ("cat@xn--gre-6ka8l.test",)


async def test_eight_bit_goes_as_it_is(site) -> None:
    server = site.world.add("other.test")
    server.offers = ("PIPELINING",)
    await site.send("cat@other.test", eight_bit=True, body="Subject: x\r\n\r\ngrüße\r\n".encode())
    await site.rest()
    assert server.taken[0].body == "Subject: x\r\n\r\ngrüße\r\n".encode()
    assert "BODY" not in server.taken[0].mail_line


async def test_a_peer_that_knows_nothing(site) -> None:
    server = site.world.add("other.test")
    server.offers = ()
    await site.send("cat@other.test", "dog@other.test")
    await site.rest()
    assert server.taken[0].recipients == ("cat@other.test", "dog@other.test")


# --- connections


async def test_a_connection_is_used_again(site) -> None:
    server = site.world.add("other.test")
    await asyncio.gather(*(site.send("cat@other.test") for _ in range(30)))
    await site.rest()
    assert len(server.taken) == 30
    assert server.connections <= 20


async def test_few_connections_to_one_destination(make_site) -> None:
    site = await make_site(remote=RemoteSettings(connections=4, each=2))
    servers = [site.world.add(f"d{n}.test", address=f"192.0.2.{n}") for n in range(8)]
    for _ in range(10):
        for n in range(8):
            await site.send(f"cat@d{n}.test")
    most = 0
    while site.queue._in_flight:
        most = max(most, site.queue._remote.connections)
        await site.rest()
    assert most <= 4
    assert [len(server.taken) for server in servers] == [10] * 8


async def test_an_unreachable_destination_rests(site) -> None:
    for _ in range(20):
        await site.send("cat@other.test")
    site.world.add("other.test")
    del site.world.servers["192.0.2.1", 25]
    site.world.dialled.clear()
    first = await site.send("cat@other.test")
    await site.rest()
    again = await site.send("cat@other.test")
    await site.rest()
    assert len(site.world.dialled) == 1
    assert await fate(site, first) == await fate(site, again)
    assert (await fate(site, again))[:2] == ("deferred", "4.4.1")
    site.world.servers["192.0.2.1", 25] = site.world.add("other.test")
    await site.later(2 * MINUTE)
    assert (await fate(site, again))[0] == "relayed"


async def test_retry_wakes_a_resting_destination(site) -> None:
    server = site.world.add("other.test")
    del site.world.servers["192.0.2.1", 25]
    message = await site.send("cat@other.test")
    await site.rest()
    site.world.servers["192.0.2.1", 25] = server
    assert await site.control.retry([message]) == 1
    await site.queue.pass_once()
    await site.rest()
    assert (await fate(site, message))[0] == "relayed"


@pytest.mark.parametrize("step", ["EHLO", "MAIL", "cat@other.test", "DATA", "END"])
async def test_a_lost_connection_defers(site, step: str) -> None:
    server = site.world.add("other.test")
    server.vanish = step
    message = await site.send("cat@other.test")
    await site.rest()
    assert (await fate(site, message))[0] == "deferred"


@pytest.mark.parametrize(
    ("step", "answer", "state"),
    [
        ("MAIL", "550 5.7.1 no", "failed"),
        ("MAIL", "451 4.7.1 greylisted", "deferred"),
        ("cat@other.test", "450 4.2.0 later", "deferred"),
        ("cat@other.test", "553 no", "failed"),
        ("DATA", "554 5.7.1 no", "failed"),
        ("DATA", "452 4.3.1 full", "deferred"),
        ("END", "550 5.7.1 spam", "failed"),
        ("END", "451 4.3.0 later", "deferred"),
        ("END", "nonsense", "deferred"),
        ("MAIL", "999 nonsense", "deferred"),
    ],
)
async def test_replies(site, step: str, answer: str, state: str) -> None:
    site.world.add("other.test").answers[step] = answer
    message = await site.send("cat@other.test")
    await site.rest()
    assert (await fate(site, message))[0] == state
