"""Certificates of a cluster (RFC 5280): what is in them, and what one that is presented says of its holder.

All keys are P-256. A node's certificate has its name as common name and as URI `rookery:CLUSTER/NAME`, and each role as
`rookery:CLUSTER/role/ROLE`. Nothing in a request counts but its key.
"""

import datetime
import hashlib
from collections.abc import Iterable
from typing import TypeAlias

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from rookery.base.config.kinds import NAME
from rookery.base.errors import Cause, RookeryError
from rookery.base.members import Member, roles_of

SKEW = 300  # seconds by which clocks of nodes may differ: every certificate begins so much earlier
REQUEST_LIMIT = 4096  # octets
SERIAL_SIZE = 16
CLUSTER_SIZE = 32  # hexadecimal digits

PrivateKey: TypeAlias = ec.EllipticCurvePrivateKey
PublicKey: TypeAlias = ec.EllipticCurvePublicKey


def new_key() -> PrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def key_id(key: PublicKey) -> bytes:
    """SHA-256 of the SubjectPublicKeyInfo, 32 octets."""
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return hashlib.sha256(key.public_bytes(serialization.Encoding.DER, form)).digest()


def der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.DER)


def pem(certificates: Iterable[x509.Certificate]) -> bytes:
    return b"".join(one.public_bytes(serialization.Encoding.PEM) for one in certificates)


def private_pem(key: PrivateKey) -> bytes:
    """Not encrypted: for a file that nobody else may read."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def private_key(data: bytes) -> PrivateKey:
    """Of PEM. Raises ValueError, which says nothing of what is in `data`."""
    try:
        found = serialization.load_pem_private_key(data, None)
    except (TypeError, ValueError):
        raise ValueError("no private key without a pass phrase") from None
    if not _is_p256(found):
        raise ValueError("no P-256 key")
    assert isinstance(found, PrivateKey)
    return found


def _is_p256(key: object) -> bool:
    return isinstance(key, PrivateKey | PublicKey) and isinstance(key.curve, ec.SECP256R1)


# --- requests (PKCS #10, RFC 2986) ----------------------------------------------------------------------------------


def make_request(key: PrivateKey) -> bytes:
    """It names nobody: who one is, and what one may do, the authority knows."""
    made = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    return made.public_bytes(serialization.Encoding.DER)


def requested_key(request: bytes) -> PublicKey:
    """The key, which the sender of the request has. Whatever else it asks for is not read. Raises INVALID, TOO_BIG."""
    if len(request) > REQUEST_LIMIT:
        raise RookeryError(Cause.TOO_BIG, f"a certificate request has at most {REQUEST_LIMIT} octets")
    try:
        asked = x509.load_der_x509_csr(request)
        key, signed = asked.public_key(), asked.is_signature_valid
    except Exception:  # noqa: BLE001  the parser has many ways to say no, some of them not ValueError
        raise RookeryError(Cause.INVALID, "this is no certificate request") from None
    if not _is_p256(key):
        raise RookeryError(Cause.INVALID, "a certificate request of another kind of key: expected P-256")
    if not signed:
        raise RookeryError(Cause.INVALID, "a certificate request that its own key did not sign")
    assert isinstance(key, PublicKey)
    return key


# --- what is signed -------------------------------------------------------------------------------------------------


def moment(seconds: int) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC)


def node_builder(
    cluster: str, name: str, roles: Iterable[str], key: PublicKey, serial: bytes
) -> x509.CertificateBuilder:
    """Without issuer and dates."""
    uris = [f"rookery:{cluster}/{name}", *sorted(f"rookery:{cluster}/role/{role}" for role in roles)]
    usage = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .public_key(key)
        .serial_number(int.from_bytes(serial, "big"))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usage), critical=False)
        .add_extension(x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri) for uri in uris]), False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def new_serial(random: bytes) -> bytes:
    """Of 16 random octets; positive, and never shorter (RFC 5280 section 4.1.2.2)."""
    return bytes([random[0] & 0x7F | 0x40]) + random[1:SERIAL_SIZE]


# --- what is presented ----------------------------------------------------------------------------------------------


def member_of(certificate: bytes | None, cluster: str, now: float | None = None) -> Member:
    """Who presents this certificate (DER), which TLS has found to be signed by a trusted authority. `now`: seconds UTC,
    where TLS has not looked at its dates.

    Raises RookeryError(DENIED) saying what is wrong with it.
    """
    if not certificate:
        raise _denied("no certificate was presented")
    try:
        leaf = x509.load_der_x509_certificate(certificate)
        uris = _uris(leaf)
        names = [str(name.value) for name in leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
        is_authority = leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
        serial, ends = leaf.serial_number, int(leaf.not_valid_after_utc.timestamp())
        begins = int(leaf.not_valid_before_utc.timestamp())
    except Exception:  # noqa: BLE001  as for requests
        raise _denied("the certificate presented is none of a cluster") from None
    prefix = f"rookery:{cluster}/"
    if is_authority or not uris or len(names) != 1:
        raise _denied("the certificate presented is none of a node")
    if not all(uri.startswith(prefix) for uri in uris):
        raise _denied(f"the certificate of {names[0][:80]!r} is of another cluster")
    said = [uri.removeprefix(prefix) for uri in uris]
    roles = [part.removeprefix("role/") for part in said if part.startswith("role/")]
    if [part for part in said if not part.startswith("role/")] != names or not _is_name(names[0]):
        raise _denied("the certificate presented has not one name")
    if serial.bit_length() > 8 * SERIAL_SIZE:
        raise _denied(f"the certificate of {names[0]} has a number that no authority gives")
    if now is not None and now >= ends:
        raise _denied(f"the certificate of {names[0]} has ended, on {moment(ends):%Y-%m-%d %H:%M} UTC")
    if now is not None and now < begins:
        raise _denied(f"the certificate of {names[0]} is not valid before {moment(begins):%Y-%m-%d %H:%M} UTC")
    return Member(names[0], roles_of(roles), serial.to_bytes(SERIAL_SIZE, "big"), ends)


def _is_name(text: str) -> bool:
    try:
        NAME.read(text)
    except ValueError:
        return False
    return True


def _uris(certificate: x509.Certificate) -> list[str]:
    """All alternative names; raises ValueError when one is no URI."""
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    if len(uris) != len(list(names)):
        raise ValueError("an alternative name of another kind")
    return uris


def cluster_of(certificate: x509.Certificate) -> str:
    """The cluster of an authority or a node. Raises ValueError, or what the parser raises."""
    for uri in _uris(certificate):
        scheme, _, rest = uri.partition(":")
        cluster = rest.partition("/")[0]
        if scheme == "rookery" and len(cluster) == CLUSTER_SIZE:
            return cluster
    raise ValueError("no certificate of a cluster")


def is_issued_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """By name and signature; dates are not looked at."""
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _denied(what: str) -> RookeryError:
    return RookeryError(Cause.DENIED, what)
