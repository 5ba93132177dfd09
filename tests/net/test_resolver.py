"""DNS over a socket, with a server of ours; and what the answers mean for mail."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import cast

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest

from rookery.net.resolver import (
    DnsResolver,
    LookupTrouble,
    MailHost,
    NameServer,
    Route,
    Trouble,
    mail_route,
    read_name_server,
)

RECORDS = {
    ("one.test.", "MX"): ["10 MX1.one.test.", "20 mx2.one.test."],
    ("mx1.one.test.", "A"): ["192.0.2.1"],
    ("mx1.one.test.", "AAAA"): ["2001:db8::1"],
    ("plain.test.", "A"): ["192.0.2.2"],
    ("null.test.", "MX"): ["0 ."],
    ("many.test.", "MX"): [f"10 mx{n}.many.test." for n in range(60)],
}
FAILING = {"broken.test.": dns.rcode.SERVFAIL, "refused.test.": dns.rcode.REFUSED}


class NameServerOfOurs(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.asked: list[str] = []
        self.transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, source: tuple[str, int]) -> None:
        query = dns.message.from_wire(data)
        (question,) = query.question
        name, kind = question.name.to_text().lower(), dns.rdatatype.to_text(question.rdtype)
        self.asked.append(f"{kind} {name}")
        if name == "silent.test.":
            return
        reply = dns.message.make_response(query)
        reply.flags |= dns.flags.RA
        texts = RECORDS.get((name, kind))
        if texts:
            reply.answer.append(dns.rrset.from_text(question.name, 60, "IN", kind, *texts))
        elif name in FAILING:
            reply.set_rcode(FAILING[name])
        elif not any(known == name for known, _ in RECORDS):
            reply.set_rcode(dns.rcode.NXDOMAIN)
        assert self.transport is not None
        self.transport.sendto(reply.to_wire(max_size=65535), source)


@pytest.fixture
async def server() -> AsyncIterator[NameServerOfOurs]:
    transport, protocol = await asyncio.get_running_loop().create_datagram_endpoint(
        NameServerOfOurs, local_addr=("127.0.0.1", 0)
    )
    yield protocol
    transport.close()


@pytest.fixture
def resolver(server: NameServerOfOurs) -> DnsResolver:
    assert server.transport is not None
    port = server.transport.get_extra_info("sockname")[1]
    return DnsResolver([NameServer("127.0.0.1", port)], lifetime=0.3, timeout=0.2)


async def test_mail_hosts(resolver: DnsResolver) -> None:
    assert await resolver.mail_hosts("one.test") == [MailHost(10, "mx1.one.test"), MailHost(20, "mx2.one.test")]
    assert await resolver.mail_hosts("null.test") == [MailHost(0, "")]


async def test_addresses(resolver: DnsResolver) -> None:
    assert await resolver.addresses("mx1.one.test") == ["2001:db8::1", "192.0.2.1"]
    assert await resolver.addresses("plain.test") == ["192.0.2.2"]
    assert await resolver.addresses("192.0.2.9") == ["192.0.2.9"]


@pytest.mark.parametrize(
    ("name", "trouble"),
    [
        ("gone.test", Trouble.NO_DOMAIN),
        ("plain.test", Trouble.NO_DATA),
        ("broken.test", Trouble.TEMPORARY),
        ("refused.test", Trouble.TEMPORARY),
        ("silent.test", Trouble.TEMPORARY),
        ("x" * 64 + ".test", Trouble.NO_DOMAIN),
        ("a..test", Trouble.NO_DOMAIN),
        (".".join(["x" * 60] * 5), Trouble.NO_DOMAIN),
    ],
)
async def test_troubles(resolver: DnsResolver, name: str, trouble: Trouble) -> None:
    with pytest.raises(LookupTrouble) as caught:
        await resolver.mail_hosts(name)
    assert caught.value.trouble is trouble


async def test_answers_are_remembered(resolver: DnsResolver, server: NameServerOfOurs) -> None:
    for _ in range(3):
        await resolver.mail_hosts("one.test")
    assert server.asked == ["MX one.test."]


async def test_a_host_without_addresses(resolver: DnsResolver) -> None:
    with pytest.raises(LookupTrouble) as caught:
        await resolver.addresses("gone.test")
    assert caught.value.trouble is Trouble.NO_DOMAIN
    with pytest.raises(LookupTrouble) as caught:
        await resolver.addresses("broken.test")
    assert caught.value.trouble is Trouble.TEMPORARY


# --- what it means for mail


class Told:
    """A resolver that says what it was told to."""

    def __init__(self, answer: Sequence[MailHost] | Trouble) -> None:
        self.answer = answer

    async def mail_hosts(self, domain: str) -> Sequence[MailHost]:
        if isinstance(self.answer, Trouble):
            raise LookupTrouble(self.answer, "so it is")
        return self.answer

    async def addresses(self, host: str) -> Sequence[str]:
        return ["192.0.2.1"]


A, B, C, ME = MailHost(10, "a.test"), MailHost(20, "b.test"), MailHost(20, "c.test"), MailHost(20, "me.test")


@pytest.mark.parametrize(
    ("answer", "route"),
    [
        ([B, A], Route(("a.test", "b.test"))),
        ([B, C, A], Route(("a.test", "c.test", "b.test"))),
        ([A, ME, B], Route(("a.test",))),
        ([ME, C], Route((), "5.4.6", "mail for x.test would come back to this host")),
        ([MailHost(0, "")], Route((), "5.1.10", "x.test does not take mail (null MX)")),
        ([MailHost(0, ""), A], Route(("a.test",))),
        (Trouble.NO_DATA, Route(("x.test",))),
        (Trouble.NO_DOMAIN, Route((), "5.1.2", "so it is")),
        (Trouble.TEMPORARY, Route((), "4.4.3", "so it is")),
    ],
)
async def test_mail_route(answer: Sequence[MailHost] | Trouble, route: Route) -> None:
    assert await mail_route(Told(answer), "x.test", frozenset({"me.test"}), list.reverse) == route


async def test_hosts_are_bounded(resolver: DnsResolver) -> None:
    route = await mail_route(resolver, "many.test", frozenset(), lambda names: None)
    assert len(route.hosts) == 20


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("192.0.2.1", NameServer("192.0.2.1", 53)),
        ("127.0.0.1:5353", NameServer("127.0.0.1", 5353)),
        ("2001:db8::1", NameServer("2001:db8::1", 53)),
        ("[2001:DB8::1]:5353", NameServer("2001:db8::1", 5353)),
        ("[::1]", NameServer("::1", 53)),
    ],
)
def test_read_name_server(text: str, expected: NameServer) -> None:
    assert read_name_server(text) == expected


@pytest.mark.parametrize("text", ["", "ns.test", "192.0.2.1:", "192.0.2.1:0", "192.0.2.1:99999", "[::1]:x", "1.2.3"])
def test_not_a_name_server(text: str) -> None:
    with pytest.raises(ValueError):
        read_name_server(text)
