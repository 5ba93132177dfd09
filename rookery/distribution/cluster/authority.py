"""A cluster's certificate authority: a key that signs, and the trust that nodes have in it.

At a roll-over the old authority signs the new one's key once (`cross`), and its own key is destroyed. A node that knows
only the old one trusts a certificate of the new one through that signature, which every node sends along; so nobody
has to know of the new one before it begins to sign.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import NameOID

from rookery.base.errors import Cause, RookeryError
from rookery.distribution.cluster.certificates import (
    SKEW,
    PrivateKey,
    PublicKey,
    cluster_of,
    der,
    is_issued_by,
    key_id,
    key_usage,
    moment,
    new_key,
    node_builder,
    pem,
    private_key,
    private_pem,
)

LIFETIME = 24 * 3600  # seconds, of a node's certificate
LIFETIME_LEAST, LIFETIME_MOST = 600, 30 * 86400
AUTHORITY_LIFETIME = 10 * 365 * 86400
ROOTS_LIMIT = 4


@dataclass(frozen=True, slots=True)
class Authority:
    """`certificate`: signed by itself. `cross`: the same key and name, signed by the authority before it."""

    cluster: str
    key: PrivateKey = field(repr=False)
    certificate: x509.Certificate
    cross: x509.Certificate | None = None

    @property
    def id(self) -> bytes:
        """SHA-256 of its public key: what a join token pins."""
        return key_id(self.key.public_key())

    @property
    def chain(self) -> tuple[bytes, ...]:
        """What a node sends after its own certificate, DER."""
        return () if self.cross is None else (der(self.cross),)

    def is_vouched_by(self, former: bytes) -> bool:
        """Whether the authority with that certificate (DER) has signed this one's key."""
        return self.cross is not None and is_issued_by(self.cross, x509.load_der_x509_certificate(former))

    def issue(
        self, key: PublicKey, name: str, roles: Iterable[str], serial: bytes, now: int, lifetime: int = LIFETIME
    ) -> bytes:
        """A node's certificate, DER. It ends with the authority at the latest."""
        ends = min(moment(now + lifetime), self.certificate.not_valid_after_utc)
        made = (
            node_builder(self.cluster, name, roles, key, serial)
            .issuer_name(self.certificate.subject)
            .not_valid_before(moment(now - SKEW))
            .not_valid_after(ends)
            .add_extension(_signed_by(self.certificate), critical=False)
            .sign(self.key, hashes.SHA256())
        )
        return der(made)

    def successor(self, now: int) -> "Authority":
        """The next one, whose key this one vouches for."""
        made = create(self.cluster, now)
        ends = min(made.certificate.not_valid_after_utc, self.certificate.not_valid_after_utc)
        cross = (
            _builder(self.cluster, made.key.public_key(), path_length=0)
            .issuer_name(self.certificate.subject)
            .not_valid_before(moment(now - SKEW))
            .not_valid_after(ends)
            .add_extension(_signed_by(self.certificate), critical=False)
            .sign(self.key, hashes.SHA256())
        )
        return Authority(self.cluster, made.key, made.certificate, cross)

    def to_pem(self) -> bytes:
        """With the key."""
        certificates = [self.certificate] if self.cross is None else [self.certificate, self.cross]
        return private_pem(self.key) + pem(certificates)


def create(cluster: str, now: int) -> Authority:
    key = new_key()
    builder = _builder(cluster, key.public_key(), path_length=1)
    made = (
        builder.issuer_name(_name(cluster, key.public_key()))
        .not_valid_before(moment(now - SKEW))
        .not_valid_after(moment(now + AUTHORITY_LIFETIME))
        .sign(key, hashes.SHA256())
    )
    return Authority(cluster, key, made)


def from_pem(data: bytes) -> Authority:
    """What `to_pem` made. Raises ValueError, which says nothing of what is in `data`."""
    key = private_key(data)
    try:
        certificate, *cross = x509.load_pem_x509_certificates(data)
        cluster = cluster_of(certificate)
    except Exception:  # noqa: BLE001  see certificates.py
        raise ValueError("no certificate of an authority") from None
    if any(one.public_key() != key.public_key() for one in (certificate, *cross)):
        raise ValueError("a certificate of another key")
    if not is_issued_by(certificate, certificate):
        raise ValueError("the certificate of a node")
    return Authority(cluster, key, certificate, cross[0] if cross else None)


def _name(cluster: str, key: PublicKey) -> x509.Name:
    """No two authorities have the same, so that a certificate says by its issuer's name who signed it."""
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, f"Rookery cluster {cluster}"),
            x509.NameAttribute(NameOID.COMMON_NAME, f"authority {key_id(key)[:8].hex()}"),
        ]
    )


def _builder(cluster: str, key: PublicKey, path_length: int) -> x509.CertificateBuilder:
    names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(f"rookery:{cluster}")])
    return (
        x509.CertificateBuilder()
        .subject_name(_name(cluster, key))
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
        .add_extension(key_usage(signs_certificates=True), critical=True)
        .add_extension(names, critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _signed_by(issuer: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    found = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(found)


# --- trust ----------------------------------------------------------------------------------------------------------


class Bundle(msgspec.Struct, frozen=True):
    """The authorities that nodes trust, oldest first, and what older ones signed of newer ones; all DER."""

    roots: tuple[bytes, ...]
    crosses: tuple[bytes, ...] = ()


def pinned(offered: Bundle, cluster: str, pin: bytes) -> Bundle:
    """Only the authority with this id, out of what a stranger says. Raises DENIED when it is not among them."""
    for root in _load(offered.roots):
        if key_id(_key(root)) == pin:
            _need_root(root, cluster)
            return Bundle((der(root),))
    raise RookeryError(
        Cause.DENIED,
        "whoever answered is not the authority that made the join token; check the address, or make a new token",
    )


def follow(have: Bundle, offered: Bundle, cluster: str) -> Bundle:
    """What to trust from now on: all offered roots, when each is trusted already, or one that is vouches for it.

    So no directory, and nobody between, can bring in an authority of his own. Raises DENIED.
    """
    if not offered.roots:
        raise RookeryError(Cause.DENIED, "a bundle without authorities was offered")
    trusted, crosses = _load(have.roots), _load(offered.crosses)
    for root in _load(offered.roots):
        _need_root(root, cluster)
        if der(root) in have.roots:
            continue
        vouched = [one for one in crosses if one.public_key() == root.public_key() and one.subject == root.subject]
        if not any(is_issued_by(one, former) for one in vouched for former in trusted):
            raise RookeryError(Cause.DENIED, "an authority was offered for which none that this node trusts vouches")
    return Bundle(offered.roots)


def issuer_among(certificate: bytes, bundle: Bundle) -> bytes | None:
    """The id of the root that signed it itself."""
    leaf = x509.load_der_x509_certificate(certificate)
    return next((key_id(_key(root)) for root in _load(bundle.roots) if is_issued_by(leaf, root)), None)


def _load(certificates: tuple[bytes, ...]) -> list[x509.Certificate]:
    if len(certificates) > ROOTS_LIMIT:
        raise RookeryError(Cause.TOO_MANY, f"a bundle has at most {ROOTS_LIMIT} authorities")
    try:
        return [x509.load_der_x509_certificate(one) for one in certificates]
    except Exception:  # noqa: BLE001  see certificates.py
        raise RookeryError(Cause.INVALID, "a bundle with something that is no certificate") from None


def _key(certificate: x509.Certificate) -> PublicKey:
    key = certificate.public_key()
    if not isinstance(key, PublicKey):
        raise RookeryError(Cause.DENIED, "an authority with another kind of key was offered: expected P-256")
    return key


def _need_root(root: x509.Certificate, cluster: str) -> None:
    try:
        own = cluster_of(root) == cluster and root.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except Exception:  # noqa: BLE001  see certificates.py
        own = False
    if not own or not is_issued_by(root, root):
        raise RookeryError(Cause.DENIED, "what was offered is no authority of this cluster")
