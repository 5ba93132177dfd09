"""What certificates and requests say, and what is not believed of them."""

import contextlib
import datetime
import ipaddress
from collections.abc import Sequence

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from rookery.base.errors import Cause, RookeryError
from rookery.base.members import Role, roles_of, roles_text
from rookery.distribution.cluster import authority as au
from rookery.distribution.cluster.certificates import (
    REQUEST_LIMIT,
    der,
    make_request,
    member_of,
    new_key,
    new_serial,
    private_key,
    private_pem,
    requested_key,
)

CLUSTER = "ab" * 16
NOW = 1_800_000_000
AUTHORITY = au.create(CLUSTER, NOW)
KEY = new_key()
SERIAL = new_serial(bytes(range(16)))
GOOD = AUTHORITY.issue(KEY.public_key(), "b1", ["backend", "mx-out"], SERIAL, NOW)
REQUEST = make_request(KEY)
OTHER_KEY = new_key()


def refused(cause: Cause, read: object) -> str:
    with pytest.raises(RookeryError) as caught:
        read()  # type: ignore[operator]
    assert caught.value.cause is cause
    return caught.value.what


def test_a_certificate_says_name_roles_number_and_end() -> None:
    member = member_of(GOOD, CLUSTER)
    assert (member.name, member.roles, member.serial) == ("b1", {Role.BACKEND, Role.MX_OUT}, SERIAL)
    assert member.ends == NOW + au.LIFETIME
    leaf = x509.load_der_x509_certificate(GOOD)
    assert leaf.not_valid_before_utc == datetime.datetime.fromtimestamp(NOW - 300, datetime.UTC)
    assert leaf.serial_number.bit_length() == 127


def test_a_certificate_ends_with_its_authority() -> None:
    late = NOW + au.AUTHORITY_LIFETIME - 60
    made = AUTHORITY.issue(KEY.public_key(), "b1", ["backend"], SERIAL, late)
    assert member_of(made, CLUSTER).ends == NOW + au.AUTHORITY_LIFETIME


def test_a_role_of_a_newer_release_allows_nothing_here() -> None:
    made = AUTHORITY.issue(KEY.public_key(), "n", ["filter-of-next-year", "frontend"], SERIAL, NOW)
    assert member_of(made, CLUSTER).roles == {Role.FRONTEND}
    assert roles_of(roles_text(Role).split()) == set(Role)


def forged(uris: Sequence[str], *, name: str = "b1", other: x509.GeneralName | None = None, ca: bool = False) -> bytes:
    """A certificate that the authority would never make."""
    names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(uri) for uri in uris]
    if other is not None:
        names.append(other)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(AUTHORITY.certificate.subject)
        .public_key(KEY.public_key())
        .serial_number(1)
        .not_valid_before(datetime.datetime(2027, 1, 1))
        .not_valid_after(datetime.datetime(2027, 2, 1))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return der(builder.sign(AUTHORITY.key, hashes.SHA256()))


@pytest.mark.parametrize(
    ("certificate", "said"),
    [
        (None, "no certificate was presented"),
        (b"", "no certificate was presented"),
        (b"nonsense", "none of a cluster"),
        (der(AUTHORITY.certificate), "none of a node"),
        (forged([]), "none of a cluster"),
        (forged([f"rookery:{CLUSTER}/b1"], ca=True), "none of a node"),
        (forged([f"rookery:{'cd' * 16}/b1"]), "of another cluster"),
        (forged([f"rookery:{CLUSTER}/b1", f"rookery:{'cd' * 16}/role/admin"]), "of another cluster"),
        (forged([f"rookery:{CLUSTER}/b1", "https://b1.test/"]), "of another cluster"),
        (forged([f"rookery:{CLUSTER}/role/admin"]), "not one name"),
        (forged([f"rookery:{CLUSTER}/b2"]), "not one name"),
        (forged([f"rookery:{CLUSTER}/b1", f"rookery:{CLUSTER}/b2"]), "not one name"),
        (forged([f"rookery:{CLUSTER}/"], name=" "), "not one name"),
        (forged([f"rookery:{CLUSTER}/a/b"], name="a/b"), "not one name"),
        (forged([f"rookery:{CLUSTER}/b1"], other=x509.DNSName("b1")), "none of a cluster"),
        (forged([f"rookery:{CLUSTER}/b1"], other=x509.IPAddress(ipaddress.ip_address("::1"))), "none of a cluster"),
    ],
)
def test_what_is_wrong_with_a_certificate_is_said(certificate: bytes | None, said: str) -> None:
    assert said in refused(Cause.DENIED, lambda: member_of(certificate, CLUSTER))


def test_a_number_that_no_authority_gives() -> None:
    leaf = x509.load_der_x509_certificate(GOOD)
    builder = x509.CertificateBuilder(
        leaf.issuer, leaf.subject, leaf.public_key(), 1 << 130, leaf.not_valid_before_utc.replace(tzinfo=None),
        leaf.not_valid_after_utc.replace(tzinfo=None), list(leaf.extensions),
    )  # fmt: skip
    made = der(builder.sign(AUTHORITY.key, hashes.SHA256()))
    assert "a number that no" in refused(Cause.DENIED, lambda: member_of(made, CLUSTER))


@given(st.binary(max_size=200), st.integers(0, len(GOOD) - 1), st.integers(1, 255))
def test_garbage_is_refused_and_nothing_else(garbage: bytes, at: int, change: int) -> None:
    changed = GOOD[:at] + bytes([GOOD[at] ^ change]) + GOOD[at + 1 :]
    for data in (garbage, changed, GOOD[:at], GOOD + garbage):
        with contextlib.suppress(RookeryError):
            member_of(data, CLUSTER)


# --- requests -------------------------------------------------------------------------------------------------------


def test_of_a_request_only_the_key_counts() -> None:
    assert requested_key(REQUEST) == KEY.public_key()
    greedy = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "directory1")]))
        .add_extension(x509.BasicConstraints(ca=True, path_length=9), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.UniformResourceIdentifier(f"rookery:{CLUSTER}/role/admin")]), False
        )
        .sign(KEY, hashes.SHA256())
    )
    key = requested_key(greedy.public_bytes(serialization.Encoding.DER))
    made = AUTHORITY.issue(key, "f1", ["frontend"], SERIAL, NOW)
    member = member_of(made, CLUSTER)
    assert (member.name, member.roles) == ("f1", {Role.FRONTEND})
    assert b"admin" not in made
    assert b"directory1" not in made


def test_a_request_for_a_key_that_one_has_not() -> None:
    own = x509.load_der_x509_csr(REQUEST)
    signature = x509.load_der_x509_csr(make_request(OTHER_KEY)).signature
    stolen = REQUEST.replace(own.signature, signature)
    if len(stolen) != len(REQUEST):  # signatures differ in length by an octet; then the form is broken as well
        refused(Cause.INVALID, lambda: requested_key(stolen))
    else:
        assert "did not sign" in refused(Cause.INVALID, lambda: requested_key(stolen))
    flipped = REQUEST[:-1] + bytes([REQUEST[-1] ^ 1])
    assert "did not sign" in refused(Cause.INVALID, lambda: requested_key(flipped))


@pytest.mark.parametrize(
    "key", [rsa.generate_private_key(65537, 2048), ec.generate_private_key(ec.SECP384R1())], ids=["RSA", "P-384"]
)
def test_another_kind_of_key_is_refused(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> None:
    made = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    request = made.public_bytes(serialization.Encoding.DER)
    assert "expected P-256" in refused(Cause.INVALID, lambda: requested_key(request))


@given(st.binary(max_size=200), st.integers(0, len(REQUEST) - 1), st.integers(1, 255))
def test_no_request_is_refused_otherwise(garbage: bytes, at: int, change: int) -> None:
    changed = REQUEST[:at] + bytes([REQUEST[at] ^ change]) + REQUEST[at + 1 :]
    for data in (garbage, changed, REQUEST[:at]):
        refused(Cause.INVALID, lambda data=data: requested_key(data))
    refused(Cause.TOO_BIG, lambda: requested_key(bytes(REQUEST_LIMIT + 1)))


# --- keys -----------------------------------------------------------------------------------------------------------


def test_an_authority_is_read_as_it_was_written() -> None:
    following = AUTHORITY.successor(NOW)
    for authority in (AUTHORITY, following):
        read = au.from_pem(authority.to_pem())
        assert (read.id, read.certificate, read.cross) == (authority.id, authority.certificate, authority.cross)
    assert following.is_vouched_by(der(AUTHORITY.certificate))
    assert not AUTHORITY.is_vouched_by(der(following.certificate))


def test_what_is_no_authority_says_nothing_of_the_key() -> None:
    secret = private_pem(KEY)
    locked = KEY.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"x")
    )
    for data in (b"", secret, secret + AUTHORITY.to_pem(), secret[:80], locked, AUTHORITY.to_pem()[300:]):
        with pytest.raises(ValueError) as caught:
            au.from_pem(data)
        assert caught.value.__cause__ is None
        assert not any(line in str(caught.value) for line in secret.decode().splitlines()[1:-1])
    with pytest.raises(ValueError):
        private_key(locked)
    assert "private" not in repr(AUTHORITY).lower()
