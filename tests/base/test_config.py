"""Settings: values, defaults, and every mistake named at once with where it is and what would be right."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rookery.base.config import SETTINGS, Config, Endpoint, differences, load, parse
from rookery.base.config.kinds import parse_duration, parse_endpoint, parse_size, show_duration, show_size
from rookery.base.config.render import markdown, toml


def errors(text: str) -> list[str]:
    return [str(problem) for problem in parse(text.encode())[1]]


def test_an_empty_file_is_all_defaults() -> None:
    assert parse(b"") == (Config(), [])


def test_the_promised_defaults() -> None:
    config = Config()
    assert config.smtp.message_size == 50 * 1024 * 1024
    assert config.smtp.recipients == 1000
    assert config.limits.connections_per_address == 100
    assert config.limits.before_login == 10
    assert config.queue.lifetime == 5 * 86400
    assert (config.quota.size, config.quota.messages) == (0, 0)
    assert config.listen.addresses == ("127.0.0.1", "::1")


def test_the_commented_file_of_a_new_site_says_what_was_given_and_nothing_else() -> None:
    config, problems = parse(toml({"site.domain": "example.org", "listen.port_offset": 10_000}).encode())
    assert problems == []
    assert {row.key for row in differences(Config(), config)} == {"site.domain", "listen.port_offset"}
    assert config.listen.port_offset == 10_000


def test_the_commented_defaults_are_the_defaults() -> None:
    text = toml({})
    bare = "\n".join(
        line[1:] if line.startswith("#") and not line.startswith("# ") else line for line in text.split("\n")
    )
    assert bare.count(" = ") >= len(SETTINGS)
    assert parse(bare.encode()) == (Config(), [])


def test_every_mistake_is_named_at_once() -> None:
    found = errors("""\
[smtp]
message_size = "50 XB"   # a comment
recipients = 0

[listen]
addresses = [
  "127.0.0.300",
]
[queue]
lifetime = 5
""")
    assert found == [
        'rookery.toml:2: smtp.message_size: found "50 XB", expected a size such as "50MB" (kB, MB, GB, TB) or a number of octets',
        "rookery.toml:3: smtp.recipients: found 0, expected a whole number from 1 to 100000",
        'rookery.toml:6: listen.addresses: found ["127.0.0.300"], expected a list, each an IPv4 or IPv6 address such as '
        '"127.0.0.1" or "::", at least 1',
        'rookery.toml:10: queue.lifetime: found 5, expected a duration such as "5d" or "1h30m" (ms, s, m, h, d, w)',
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[smtp]\nmessage_sise = 1", "rookery.toml:2: smtp.message_sise: found an unknown setting, did you mean message_size?"),
        ("[smpt]\n", "rookery.toml:1: smpt: found an unknown section, did you mean smtp?"),
        ("message_size = 1", "rookery.toml:1: message_size: found an unknown setting, did you mean smtp.message_size?"),
        ("[imap]\nlifetime = 1", "rookery.toml:2: imap.lifetime: found an unknown setting, did you mean queue.lifetime?"),
        ("[imap]\nqqqq = 1", "rookery.toml:2: imap.qqqq: found an unknown setting, see docs/settings.md for those there are"),
        ("smtp = 1", "rookery.toml:1: smtp: found 1, expected a table, [smtp]"),
        ("[smtp]\na b", "rookery.toml:2: found a b, not TOML: Expected '=' after a key in a key/value pair"),
        ("[log]\nlevels = { smtp = 1 }", "rookery.toml:2: log.levels: found { smtp = 1 }, expected a table, each value one of "
         '"debug", "info", "warning", "error"'),
        ("[auth]\nscram = 1", "rookery.toml:2: auth.scram: found 1, expected true or false"),
        ("[smtp]\nrecipients = true", "rookery.toml:2: smtp.recipients: found true, expected a whole number from 1 to 100000"),
    ],
)  # fmt: skip
def test_a_mistake_and_its_message(text: str, expected: str) -> None:
    assert errors(text) == [expected]


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    assert str(load(tmp_path / "x")[1][0]) == f"{tmp_path}/x: found No such file or directory, expected a readable file"
    assert str(parse(b"[smtp]\n\xff")[1][0]) == "rookery.toml:2: found octet 0xff, expected UTF-8"


def test_values_of_every_shape() -> None:
    config, problems = parse(b"""
[listen]
addresses = ["0.0.0.0", "::"]
proxy_from = ["192.0.2.0/24", "2001:db8::1"]
[queue]
smarthost = "Mail.Example.org"
retry = ["90s", "1h30m"]
[log]
format = "json"
levels = { smtp = "debug", imap = "warning" }
""")
    assert problems == []
    assert config.queue.smarthost == Endpoint("mail.example.org", 25)
    assert config.queue.retry == (90.0, 5400.0)
    assert [str(network) for network in config.listen.proxy_from] == ["192.0.2.0/24", "2001:db8::1/128"]
    assert [(name, level.value) for name, level in config.log.levels] == [("smtp", "debug"), ("imap", "warning")]


@pytest.mark.parametrize(
    ("text", "octets"),
    [("50MB", 52428800), ("1 kB", 1024), ("1.5GB", 1610612736), ("0", 0), ("7b", 7), ("2TiB", 1 << 41)],
)
def test_sizes(text: str, octets: int) -> None:
    assert parse_size(text) == octets


@pytest.mark.parametrize("text", ["", "MB", "-1", "1e3", "5 XB", "1..5", "1.5.5"])
def test_not_sizes(text: str) -> None:
    with pytest.raises(ValueError):
        parse_size(text)


@pytest.mark.parametrize(
    ("text", "seconds"), [("5d", 432000), ("1h30m", 5400), ("250ms", 0.25), ("2w", 1209600), ("0s", 0)]
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "5", "d", "5 days", "-1s", "1h 30"])
def test_not_durations(text: str) -> None:
    with pytest.raises(ValueError):
        parse_duration(text)


@given(st.integers(0, 1 << 50))
def test_sizes_come_back(octets: int) -> None:
    assert parse_size(show_size(octets)) == octets


@given(st.integers(0, 10**9))
def test_durations_come_back(milliseconds: int) -> None:
    assert round(parse_duration(show_duration(milliseconds / 1000)) * 1000) == milliseconds


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("a.example:2525", Endpoint("a.example", 2525)),
        ("192.0.2.1", Endpoint("192.0.2.1", 25)),
        ("[2001:db8::1]:587", Endpoint("2001:db8::1", 587)),
        ("2001:db8::1", Endpoint("2001:db8::1", 25)),
    ],
)
def test_endpoints(text: str, endpoint: Endpoint) -> None:
    assert parse_endpoint(text, 25) == endpoint
    assert parse_endpoint(str(endpoint), 1) == endpoint


@given(st.text(max_size=200))
def test_no_file_raises(text: str) -> None:
    parse(text.encode("utf-8", "surrogatepass"))


@given(st.binary(max_size=50))
def test_no_octets_raise(data: bytes) -> None:
    parse(data)


def test_every_setting_has_a_sentence_and_the_page_names_them_all() -> None:
    page = markdown()
    for row in SETTINGS:
        assert row.text.endswith((".", "tells.")), row.key
        assert f"| `{row.key}` |" in page
