"""Targets of what the administrator writes: the configuration, sizes, times, number sets, password hashes."""

from rookery.base.config.kinds import parse_duration, parse_endpoint, parse_host_name, parse_size
from rookery.base.config.load import parse as parse_config
from rookery.base.errors import Cause, RookeryError
from rookery.base.numberset import NumberSet
from rookery.distribution.auth.schemes import looks_hashed
from rookery.distribution.auth.schemes import parse as parse_hash

from .target import Target, require


def config(data: bytes) -> None:
    _, problems = parse_config(data)
    for problem in problems:
        require(bool(str(problem)), "a problem that says nothing")


def values(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    for read in (parse_size, parse_duration, parse_host_name, lambda t: parse_endpoint(t, 25)):
        try:
            read(text)
        except ValueError:
            pass


def numbers(data: bytes) -> None:
    try:
        made = NumberSet.parse(data.decode("latin-1"))
    except ValueError:
        return
    require(NumberSet.parse(str(made)) == made, "a number set that does not come back")


def hashes(data: bytes) -> None:
    """Any text may stand where a hash is expected: it is refused or understood."""
    text = data.decode("utf-8", "replace")
    looks_hashed(text)
    try:
        parse_hash(text)
    except RookeryError as error:
        require(error.cause in (Cause.INVALID, Cause.UNSUPPORTED), "a hash refused for another reason")


TARGETS = (
    Target(
        "config", config, (b'[site]\ndomain = "a.test"\n[smtp]\nlisten = ["::1"]\n',), (b"[", b"]\n", b" = ", b'"""')
    ),
    Target("config-values", values, (b"50 MB", b"5 days", b"[::1]:25", b"mx.example.test")),
    Target("numbers", numbers, (b"1:3,7",), (b",", b":")),
    Target("hashes", hashes, (b"{SSHA}AAAA", b"$6$rounds=5000$ab$cd", b"{PBKDF2}$1$ab$1000$cd", b"$argon2id$v=19$m=1")),
)
