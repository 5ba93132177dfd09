"""A certificate authority for tests, and contexts of nodes: CN is the node's name, OU its roles."""

import datetime
import ssl
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from rookery.base.errors import Cause, RookeryError
from rookery.net.cluster.member import Role


@dataclass(frozen=True, slots=True)
class TestMember:
    """What a certificate says."""

    __test__ = False

    name: str
    roles: frozenset[Role]


def member_of(certificate: bytes) -> TestMember:
    """Raises RookeryError(DENIED) for a certificate that is no node's."""
    subject = x509.load_der_x509_certificate(certificate).subject
    roles = frozenset(
        Role(str(part.value)) for part in subject.get_attributes_for_oid(NameOID.ORGANIZATIONAL_UNIT_NAME)
    )
    if not roles:
        raise RookeryError(Cause.DENIED, "the certificate states no role")
    return TestMember(str(subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value), roles)


class Authority:
    """`lifetime`: seconds; negative for certificates that have ended."""

    def __init__(self, folder: Path, name: str = "test authority") -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.bundle = folder / f"{name}.pem"
        certificate = self._signed(self._name, self._key.public_key(), 3600, authority=True)
        self.bundle.write_bytes(certificate.public_bytes(Encoding.PEM))

    def context(self, name: str, *roles: Role, server: bool, lifetime: int = 3600) -> ssl.SSLContext:
        """Mutual TLS 1.3 as node `name`."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_REQUIRED
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.load_verify_locations(self.bundle)
        key = ec.generate_private_key(ec.SECP256R1())
        names = [x509.NameAttribute(NameOID.COMMON_NAME, name)]
        names += [x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, role) for role in roles]
        certificate = self._signed(x509.Name(names), key.public_key(), lifetime)
        pair = self._folder / f"{name}-{id(context)}.pem"
        pair.write_bytes(
            key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            + certificate.public_bytes(Encoding.PEM)
        )
        context.load_cert_chain(pair)
        return context

    def _signed(
        self, subject: x509.Name, key: ec.EllipticCurvePublicKey, lifetime: int, *, authority: bool = False
    ) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=2))
            .not_valid_after(now + datetime.timedelta(seconds=lifetime))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            .sign(self._key, hashes.SHA256())
        )
