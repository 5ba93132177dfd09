"""TLS certificates: the self-signed one of a new site, and what is wrong with the one in use.

Names are matched as RFC 9525 says: subjectAltName only, a wildcard for one whole leftmost label.
"""

import datetime
import ipaddress
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from rookery.base.config import Problem
from rookery.management.durable import write_durably

SELF_SIGNED_DAYS = 3650
WARNING_DAYS = 14


def make_self_signed(certificate: Path, key: Path, names: Sequence[str], now: datetime.datetime) -> None:
    """Write a P-256 key (mode 0600) and a certificate for `names` and the loopback addresses."""
    private = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0][:64])])
    alternatives: list[x509.GeneralName] = [x509.DNSName(name) for name in dict.fromkeys([*names, "localhost"])]
    alternatives += [x509.IPAddress(ipaddress.ip_address(address)) for address in ("127.0.0.1", "::1")]
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=SELF_SIGNED_DAYS))
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(private, hashes.SHA256())
    )
    key_text = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    write_durably(key, key_text)
    write_durably(certificate, made.public_bytes(serialization.Encoding.PEM), 0o644)


def expires(certificate: Path) -> datetime.datetime:
    """Raises OSError or ValueError when it cannot be read."""
    return _load(certificate)[0].not_valid_after_utc


def _load(certificate: Path) -> list[x509.Certificate]:
    return x509.load_pem_x509_certificates(certificate.read_bytes())


def check(certificate: Path, key: Path, names: Sequence[str], now: datetime.datetime) -> list[Problem]:
    """Everything wrong with the pair: unreadable, key does not fit, name missing, not valid now, at its end or soon.

    The end is a warning only: mail goes on.
    """
    problems = []
    chain: list[x509.Certificate] = []
    private = None
    try:
        chain = _load(certificate)
    except OSError as error:
        problems.append(_problem(certificate, "tls.certificate", error.strerror or "nothing", "a readable PEM file"))
    except ValueError:
        problems.append(_problem(certificate, "tls.certificate", "no certificate", "a PEM certificate"))
    try:
        private = serialization.load_pem_private_key(key.read_bytes(), None)
    except OSError as error:
        problems.append(_problem(key, "tls.key", error.strerror or "nothing", "a readable PEM file"))
    except TypeError:
        problems.append(_problem(key, "tls.key", "a key with a pass phrase", "a key without one"))
    except ValueError:
        problems.append(_problem(key, "tls.key", "no private key", "a PEM private key"))
    if not chain:
        return problems
    leaf = chain[0]
    if private is not None and private.public_key() != leaf.public_key():
        problems.append(
            _problem(key, "tls.key", "the key of another certificate", f"the private key of {certificate.name}")
        )
    held = _names(leaf)
    for name in names:
        if not any(_matches(pattern, name) for pattern in held):
            shown = ", ".join(held[:5]) or "no names"
            problems.append(_problem(certificate, "tls.certificate", shown, f"a certificate for {name}"))
    return problems + _check_dates(certificate, chain, now)


def _check_dates(certificate: Path, chain: Sequence[x509.Certificate], now: datetime.datetime) -> list[Problem]:
    for member in chain:
        begins, ends = member.not_valid_before_utc, member.not_valid_after_utc
        if now < begins:
            return [_problem(certificate, "tls.certificate", f"not valid before {begins:%F %T} UTC", "a valid one")]
        if now >= ends:
            found = f"EXPIRED on {ends:%F %T} UTC"
            return [Problem(str(certificate), 0, "tls.certificate", found, "renew it now", warning=True)]
        if now + datetime.timedelta(days=WARNING_DAYS) > ends:
            found = f"it ends in {(ends - now).days} days, on {ends:%F %T} UTC"
            return [Problem(str(certificate), 0, "tls.certificate", found, "renew it now", warning=True)]
    return []


def _problem(file: Path, key: str, found: str, expected: str) -> Problem:
    return Problem(str(file), 0, key, found, f"expected {expected}")


def _names(leaf: x509.Certificate) -> list[str]:
    try:
        alternatives = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return [name.lower() for name in alternatives.get_values_for_type(x509.DNSName)]


def _matches(pattern: str, name: str) -> bool:
    if pattern.startswith("*."):
        return name.partition(".")[2] == pattern[2:] and "." in pattern[2:]
    return pattern == name
