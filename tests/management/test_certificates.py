"""The certificate of a new site, and everything that can be wrong with one."""

import datetime
import ssl
from pathlib import Path

import pytest

from rookery.management.certificates import SELF_SIGNED_DAYS, check, expires, make_self_signed

NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


def made(folder: Path, *names: str) -> tuple[Path, Path]:
    folder.mkdir(exist_ok=True)
    pair = folder / "cert.pem", folder / "key.pem"
    make_self_signed(*pair, names, NOW)
    return pair


def found(pair: tuple[Path, Path], *names: str, days: float = 0) -> list[str]:
    return [str(p).split("/")[-1] for p in check(*pair, names, NOW + datetime.timedelta(days=days))]


def test_a_new_one_is_right_and_loads(tmp_path: Path) -> None:
    pair = made(tmp_path, "mail.example.test", "example.test")
    assert found(pair, "mail.example.test", "example.test", "localhost") == []
    assert pair[1].stat().st_mode & 0o777 == 0o600
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(*pair)
    assert expires(pair[0]) == NOW + datetime.timedelta(days=SELF_SIGNED_DAYS)


def test_a_key_is_never_written_over(tmp_path: Path) -> None:
    made(tmp_path, "a.test")
    with pytest.raises(FileExistsError):
        made(tmp_path, "a.test")


def test_what_is_wrong_is_named(tmp_path: Path) -> None:
    pair, other = made(tmp_path / "a", "a.test"), made(tmp_path / "b", "b.test")
    assert found(pair, "c.test") == [
        "cert.pem: tls.certificate: found a.test, localhost, expected a certificate for c.test"
    ]
    assert found((pair[0], other[1]), "a.test") == [
        "key.pem: tls.key: found the key of another certificate, expected the private key of cert.pem"
    ]
    assert found(pair, "a.test", days=-1) == [
        "cert.pem: tls.certificate: found not valid before 2025-12-31 23:00:00 UTC, expected a valid one"
    ]
    assert found((tmp_path / "x", tmp_path / "y")) == [
        "x: tls.certificate: found No such file or directory, expected a readable PEM file",
        "y: tls.key: found No such file or directory, expected a readable PEM file",
    ]
    (tmp_path / "x").write_text("nonsense")
    assert found((tmp_path / "x", tmp_path / "x")) == [
        "x: tls.certificate: found no certificate, expected a PEM certificate",
        "x: tls.key: found no private key, expected a PEM private key",
    ]


def test_the_warning_comes_14_days_before_the_end(tmp_path: Path) -> None:
    pair = made(tmp_path, "a.test")
    assert check(*pair, ["a.test"], NOW + datetime.timedelta(days=SELF_SIGNED_DAYS - 14.1)) == []
    (problem,) = check(*pair, ["a.test"], NOW + datetime.timedelta(days=SELF_SIGNED_DAYS - 13.5))
    assert problem.warning
    assert str(problem).endswith(
        "warning: tls.certificate: found it ends in 13 days, on 2035-12-30 00:00:00 UTC, renew it now"
    )


def test_an_expired_one_is_a_warning_for_mail_goes_on(tmp_path: Path) -> None:
    pair, other = made(tmp_path / "a", "a.test"), made(tmp_path / "b", "b.test")
    late = NOW + datetime.timedelta(days=SELF_SIGNED_DAYS)
    (problem,) = check(*pair, ["a.test"], late)
    assert problem.warning
    assert str(problem).endswith("warning: tls.certificate: found EXPIRED on 2035-12-30 00:00:00 UTC, renew it now")
    assert [problem.warning for problem in check(pair[0], other[1], ["a.test"], late)] == [False, True]


@pytest.mark.parametrize(
    ("pattern", "name", "fits"),
    [
        ("*.example.test", "mail.example.test", True),
        ("*.example.test", "a.mail.example.test", False),
        ("*.example.test", "example.test", False),
        ("*.test", "example.test", False),
    ],
)
def test_wildcards_stand_for_one_label(tmp_path: Path, pattern: str, name: str, fits: bool) -> None:
    assert (found(made(tmp_path, pattern), name) == []) is fits
