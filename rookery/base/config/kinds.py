"""Kinds of settings: what a value may look like in the file, and what it becomes.

A kind's `read` takes what TOML gave (str, int, bool, list, dict) and returns the typed value, or raises ValueError; the
message is only used when it says more than `expected` does.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Generic, TypeAlias, TypeVar

T = TypeVar("T")
E = TypeVar("E", bound=Enum)

ListenAddress: TypeAlias = str  # an IPv4 or IPv6 address, checked
Network: TypeAlias = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class Kind(Generic[T]):
    """`name` for tables, `expected` for error messages ("expected ..."), `show` gives the TOML text of a value."""

    name: str
    expected: str
    read: Callable[[object], T]
    show: Callable[[T], str]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A host and a port, as in "mail.example.org:587" or "[2001:db8::1]:25"."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def quote(text: str) -> str:
    """A TOML basic string."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in escaped) + '"'


# --- plain values ---------------------------------------------------------------------------------------------------


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError
    return value


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError
    return value


def count(least: int, most: int, name: str = "number") -> Kind[int]:
    """A whole number from `least` to `most`."""

    def read(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise ValueError
        return value

    return Kind(name, f"a whole number from {least} to {most}", read, str)


TEXT = Kind("text", "a text in quotes", _text, quote)
FLAG = Kind("yes or no", "true or false", _flag, lambda value: "true" if value else "false")


def one_of(choices: type[E]) -> Kind[E]:
    names = [str(choice.value) for choice in choices]

    def read(value: object) -> E:
        return choices(value)

    return Kind(
        " or ".join(names), "one of " + ", ".join(quote(n) for n in names), read, lambda value: quote(str(value.value))
    )


# --- sizes and durations --------------------------------------------------------------------------------------------

_SIZE = re.compile(r"\s*(\d{1,18})(?:\.(\d{1,3}))?\s*([kmgt]?)(i?b)?\s*", re.IGNORECASE)
_SIZE_UNITS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}
_DURATION = re.compile(r"(\d{1,10}(?:\.\d{1,3})?)\s*(ms|s|m|h|d|w)")
_DURATION_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def parse_size(text: str) -> int:
    """Octets of "50MB" (kB, MB, GB, TB count in 1024s). Raises ValueError."""
    found = _SIZE.fullmatch(text)
    if found is None:
        raise ValueError("expected a size such as 50MB")
    unit = 1 << 10 * _SIZE_UNITS[found[3].lower()]
    thousandths = int((found[2] or "0").ljust(3, "0"))
    return int(found[1]) * unit + thousandths * unit // 1000


def show_size(octets: int) -> str:
    """The shortest exact form: "50MB", "1536kB", "1000"."""
    for unit, power in (("TB", 4), ("GB", 3), ("MB", 2), ("kB", 1)):
        if octets and octets % 1024**power == 0:
            return f"{octets // 1024**power}{unit}"
    return str(octets)


def parse_duration(text: str) -> float:
    """Seconds of "5d", "1h30m", "250ms". Raises ValueError."""
    compact = text.strip().replace(" ", "")
    seconds, position = 0.0, 0
    while position < len(compact):
        found = _DURATION.match(compact, position)
        if found is None:
            raise ValueError("expected a duration such as 5d or 1h30m")
        seconds += float(found[1]) * _DURATION_UNITS[found[2]]
        position = found.end()
    if not position:
        raise ValueError("expected a duration such as 5d or 1h30m")
    return seconds


def show_duration(seconds: float) -> str:
    """The shortest exact form: "5d", "90s", "250ms"."""
    for unit in ("w", "d", "h", "m", "s"):
        if seconds and seconds % _DURATION_UNITS[unit] == 0:
            return f"{int(seconds / _DURATION_UNITS[unit])}{unit}"
    return f"{round(seconds * 1000)}ms" if seconds else "0s"


def _size(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    return parse_size(_text(value))


def _duration(value: object) -> float:
    return parse_duration(_text(value))


SIZE = Kind(
    "size", 'a size such as "50MB" (kB, MB, GB, TB) or a number of octets', _size, lambda v: quote(show_size(v))
)
DURATION = Kind(
    "duration", 'a duration such as "5d" or "1h30m" (ms, s, m, h, d, w)', _duration, lambda v: quote(show_duration(v))
)

# --- names, addresses, networks -------------------------------------------------------------------------------------

_LABEL = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)")


def parse_host_name(text: str) -> str:
    """A lower-case host or domain name; one with other than ASCII letters comes out in its A-label form."""
    name = text.strip().rstrip(".")
    if not name.isascii():
        name = name.encode("idna").decode("ascii")
    if not name or len(name) > 253 or not all(_LABEL.fullmatch(label) for label in name.split(".")):
        raise ValueError("expected a host name such as mail.example.org")
    return name.lower()


def _host_name(value: object) -> str:
    return parse_host_name(_text(value))


def _listen_address(value: object) -> ListenAddress:
    return str(ip_address(_text(value).strip("[]")))


def _network(value: object) -> Network:
    return ip_network(_text(value), strict=False)


def _name_server(value: object) -> str:
    text = _text(value).strip()
    host, port = text, ""
    if text.startswith("["):
        host, _, port = text[1:].partition("]")
        port = port.removeprefix(":")
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    ip_address(host)
    if port and not 0 < int(port) < 65536:
        raise ValueError
    return text


def parse_endpoint(text: str, default_port: int) -> Endpoint:
    """Raises ValueError unless `text` is host, host:port, or [IPv6]:port."""
    text = text.strip()
    if text.startswith("["):
        host, closed, rest = text[1:].partition("]")
        if not closed or (rest and not rest.startswith(":")):
            raise ValueError("expected a closing bracket and a port, such as [2001:db8::1]:25")
        host, port = str(ip_address(host)), rest[1:]
    elif text.count(":") > 1:
        host, port = str(ip_address(text)), ""
    else:
        host, _, port = text.partition(":")
        host = parse_host_name(host)
    number = int(port) if port else default_port
    if not 0 < number < 65536:
        raise ValueError("a port is a number from 1 to 65535")
    return Endpoint(host, number)


def endpoint(default_port: int) -> Kind[Endpoint | None]:
    """A host with an optional port; "" is none."""

    def read(value: object) -> Endpoint | None:
        text = _text(value)
        return parse_endpoint(text, default_port) if text.strip() else None

    return Kind(
        "host:port",
        f'a host with an optional port such as "mail.example.org:{default_port}", or "" for none',
        read,
        lambda value: quote(str(value)) if value else '""',
    )


_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")


def _name(value: object) -> str:
    text = _text(value)
    if not _NAME.fullmatch(text):
        raise ValueError
    return text


NAME = Kind("name", "a name of letters, digits, dots and hyphens", _name, quote)
HOST_NAME = Kind("host name", 'a host name such as "mail.example.org"', _host_name, quote)
HOST_NAME_OR_NONE = Kind(
    "host name",
    'a host name such as "mail.example.org", or "" for none',
    lambda value: _host_name(value) if value != "" else "",
    quote,
)
LISTEN_ADDRESS = Kind("address", 'an IPv4 or IPv6 address such as "127.0.0.1" or "::"', _listen_address, quote)
NETWORK = Kind(
    "network", 'an address or a network such as "192.0.2.0/24"', _network, lambda network: quote(str(network))
)
NAME_SERVER = Kind(
    "DNS server", 'an address with an optional port such as "192.0.2.1" or "127.0.0.1:5353"', _name_server, quote
)
PORT = count(0, 65535, "port")

# --- lists and tables -----------------------------------------------------------------------------------------------


def list_of(kind: Kind[T], *, least: int = 0) -> Kind[tuple[T, ...]]:
    """A list whose members are of `kind`; the error names the member."""

    def read(value: object) -> tuple[T, ...]:
        if not isinstance(value, list) or len(value) < least:
            raise ValueError
        return tuple(kind.read(member) for member in value)

    expected = f"a list, each {kind.expected}" + (f", at least {least}" if least else "")
    return Kind(
        f"list of {kind.name}",
        expected,
        read,
        lambda value: "[" + ", ".join(kind.show(member) for member in value) + "]",
    )


def table_of(kind: Kind[T]) -> Kind[tuple[tuple[str, T], ...]]:
    """A table from names to values of `kind`, kept as pairs in the file's order."""

    def read(value: object) -> tuple[tuple[str, T], ...]:
        if not isinstance(value, dict):
            raise ValueError
        return tuple((str(name), kind.read(member)) for name, member in value.items())

    def show(value: tuple[tuple[str, T], ...]) -> str:
        return "{ " + ", ".join(f"{name} = {kind.show(member)}" for name, member in value) + " }" if value else "{}"

    return Kind(f"table of {kind.name}", f"a table, each value {kind.expected}", read, show)
