"""Names to mail exchangers and addresses, behind a small protocol so that tests hand in a fake.

`DnsResolver` asks through dnspython, with timeouts and a bounded cache. What the answers mean for mail (RFC 5321
section 5.1, null MX of RFC 7505) is in `mail_route`, over any Resolver.
"""

from collections.abc import Callable, Sequence
from enum import Enum
from ipaddress import ip_address
from typing import NamedTuple, Protocol

import dns.asyncresolver
import dns.exception
import dns.name
import dns.nameserver
import dns.rdatatype
import dns.resolver

CACHE_LIMIT = 10_000  # answers remembered
HOSTS_LIMIT = 20  # mail exchangers of one domain that are considered
ADDRESSES_LIMIT = 20  # of one host
DNS_PORT = 53


class Trouble(Enum):
    """Why a name gave no answer."""

    NO_DOMAIN = "no such domain"
    NO_DATA = "no such record"
    TEMPORARY = "no answer for now"


class LookupTrouble(Exception):
    """`text` is for people: it stands in logs and notices."""

    def __init__(self, trouble: Trouble, text: str) -> None:
        super().__init__(text)
        self.trouble = trouble
        self.text = text


class MailHost(NamedTuple):
    """One MX record; `name` without the final dot, lower case, "" for the root."""

    preference: int
    name: str


class Resolver(Protocol):
    """Both raise LookupTrouble when there is not at least one."""

    async def mail_hosts(self, domain: str) -> Sequence[MailHost]: ...

    async def addresses(self, host: str) -> Sequence[str]:
        """IPv6 and IPv4 addresses, those of IPv6 first."""
        ...


# --- what it means for mail ----------------------------------------------------------------------------------------


class Route(NamedTuple):
    """Hosts to try, best first. Empty: mail cannot go there; `status` and `text` say why, for good or for now."""

    hosts: tuple[str, ...]
    status: str = ""
    text: str = ""

    @property
    def temporary(self) -> bool:
        return self.status.startswith("4")


async def mail_route(
    resolver: Resolver, domain: str, own_names: frozenset[str], shuffle: Callable[[list[str]], None]
) -> Route:
    """RFC 5321 section 5.1. `own_names`: names of this host in lower case; mail is not sent to itself or to worse."""
    try:
        records = list(await resolver.mail_hosts(domain))
    except LookupTrouble as trouble:
        if trouble.trouble is Trouble.NO_DOMAIN:
            return Route((), "5.1.2", trouble.text)
        if trouble.trouble is Trouble.TEMPORARY:
            return Route((), "4.4.3", trouble.text)
        records = [MailHost(0, domain)]  # the implicit MX: the domain's own addresses
    if any(record.name == "" for record in records):
        if len(records) == 1:
            return Route((), "5.1.10", f"{domain} does not take mail (null MX)")  # RFC 7505 section 3
        records = [record for record in records if record.name]  # section 3: "." beside others is an error
    ours = [record.preference for record in records if record.name in own_names]
    if ours:
        records = [record for record in records if record.preference < min(ours)]
        if not records:
            return Route((), "5.4.6", f"mail for {domain} would come back to this host")
    by_preference: dict[int, list[str]] = {}
    for record in records:
        by_preference.setdefault(record.preference, []).append(record.name)
    hosts: list[str] = []
    for preference in sorted(by_preference):
        equals = by_preference[preference]
        shuffle(equals)
        hosts.extend(name for name in equals if name not in hosts)
    return Route(tuple(hosts[:HOSTS_LIMIT]))


# --- DNS -----------------------------------------------------------------------------------------------------------


class NameServer(NamedTuple):
    address: str
    port: int = DNS_PORT


def read_name_server(text: str) -> NameServer:
    """ "192.0.2.1", "192.0.2.1:5353", "2001:db8::1" or "[2001:db8::1]:5353"; raises ValueError."""
    host, port = text, str(DNS_PORT)
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        port = rest.removeprefix(":") or port
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    if not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueError(f"not a port: {port!r}")
    return NameServer(str(ip_address(host)), int(port))


class DnsResolver:
    """Asks `servers`, or the machine's when there are none. `lifetime`: seconds for one question, all tries."""

    def __init__(self, servers: Sequence[NameServer] = (), *, lifetime: float = 10.0, timeout: float = 3.0) -> None:
        self._resolver = dns.asyncresolver.Resolver(configure=not servers)
        if servers:
            self._resolver.nameservers = [
                dns.nameserver.Do53Nameserver(server.address, server.port) for server in servers
            ]
        self._resolver.lifetime = lifetime
        self._resolver.timeout = timeout
        self._resolver.cache = dns.resolver.LRUCache(CACHE_LIMIT)

    async def mail_hosts(self, domain: str) -> Sequence[MailHost]:
        answer = await self._ask(domain, dns.rdatatype.MX)
        records = [MailHost(int(rdata.preference), _text(rdata.exchange)) for rdata in answer]
        return sorted(records)[: HOSTS_LIMIT * 2]

    async def addresses(self, host: str) -> Sequence[str]:
        try:
            return [str(ip_address(host))]
        except ValueError:
            pass
        found: list[str] = []
        troubles: list[LookupTrouble] = []
        for kind in (dns.rdatatype.AAAA, dns.rdatatype.A):
            try:
                found.extend(str(rdata.address) for rdata in await self._ask(host, kind))
            except LookupTrouble as trouble:
                troubles.append(trouble)
                if trouble.trouble is Trouble.NO_DOMAIN:
                    break
        if found:
            return found[:ADDRESSES_LIMIT]
        raise max(troubles, key=lambda t: t.trouble is Trouble.TEMPORARY)

    async def _ask(self, name: str, kind: dns.rdatatype.RdataType) -> dns.resolver.Answer:
        what = f"{dns.rdatatype.to_text(kind)} of {name}"
        try:
            return await self._resolver.resolve(name, kind, search=False)
        except dns.resolver.NXDOMAIN:
            raise LookupTrouble(Trouble.NO_DOMAIN, f"there is no domain {name}") from None
        except dns.resolver.NoAnswer:
            raise LookupTrouble(Trouble.NO_DATA, f"DNS has no {what}") from None
        except (dns.name.LabelTooLong, dns.name.NameTooLong, dns.name.EmptyLabel, dns.name.IDNAException):
            raise LookupTrouble(Trouble.NO_DOMAIN, f"{name} is not a domain name") from None
        except dns.resolver.LifetimeTimeout:
            raise LookupTrouble(Trouble.TEMPORARY, f"DNS was too slow to say the {what}") from None
        except (dns.exception.DNSException, OSError) as error:
            reason = type(error).__name__
            raise LookupTrouble(Trouble.TEMPORARY, f"DNS could not say the {what} ({reason})") from None


def _text(name: dns.name.Name) -> str:
    return name.to_text(omit_final_dot=True).lower().removeprefix(".") if name != dns.name.root else ""
