"""What a node of a cluster keeps in its folder `cluster`. Each file is replaced whole or not at all.

node.pem         its key, its certificate, and what the authorities signed of each other
authorities.pem  the authorities that it trusts
joining.key      the key of a node that has not joined yet
known.json       where it has found other nodes
revoked          who is a member no more, as far as it knows
authority.key    only where the role `authority` is: the key that signs for the cluster
"""

import os
from pathlib import Path

import msgspec
from cryptography import x509

from rookery.base.errors import Cause, RookeryError
from rookery.base.members import Member
from rookery.distribution.cluster import authority as au
from rookery.distribution.cluster.certificates import (
    PrivateKey,
    cluster_of,
    der,
    member_of,
    new_key,
    pem,
    private_key,
    private_pem,
)
from rookery.distribution.directory.values import Revoked
from rookery.storage.files import DiskFiles, Files

SIZE_LIMIT = 256 * 1024  # octets


class NodeState:
    """Of a node that has joined. `pem`: key, certificate and chain, as of one moment. `half`: from when on the
    certificate is to be renewed, seconds UTC; `trust_ends`: of the newest authority."""

    __slots__ = ("bundle", "certificate", "cluster", "half", "key", "member", "pem", "trust_ends")

    def __init__(self, pem: bytes, key: PrivateKey, certificate: x509.Certificate, bundle: au.Bundle) -> None:
        self.pem = pem
        self.key = key
        self.certificate = certificate
        self.bundle = bundle
        self.cluster = cluster_of(certificate)
        self.member: Member = member_of(der(certificate), self.cluster)
        begins = int(certificate.not_valid_before_utc.timestamp())
        self.half = (begins + self.member.ends) // 2
        newest = x509.load_der_x509_certificate(bundle.roots[-1])
        self.trust_ends = int(newest.not_valid_after_utc.timestamp())


class Known(msgspec.Struct, frozen=True):
    """Addresses as host:port. join: the authority's join ports. directory: cluster ports of directory nodes."""

    join: tuple[str, ...] = ()
    directory: tuple[str, ...] = ()


class ClusterFiles:
    """Blocking; everything written is on the disk when the call returns. Raises RookeryError UNAVAILABLE, CORRUPT."""

    __slots__ = ("_files", "folder")

    def __init__(self, folder: Path, files: Files | None = None) -> None:
        self.folder = folder
        self._files = files or DiskFiles()

    @property
    def node(self) -> Path:
        return self.folder / "node.pem"

    def _replace(self, name: str, data: bytes, own: str = "") -> None:
        """Nobody but the owner can read it, at any moment. `own`: for what several processes may write at once."""
        path, new = self.folder / name, self.folder / f"{name}{own}.new"
        try:
            self._files.make_folder(self.folder)
            self._files.unlink(new)
            file = self._files.create(new)
            try:
                file.append([data])
                file.flush()
            finally:
                file.close()
            self._files.rename(new, path)
            self._files.sync_folder(self.folder)
        except OSError as error:
            raise RookeryError(Cause.UNAVAILABLE, f"{path} cannot be written: {error.strerror}") from error

    def _read(self, name: str) -> bytes | None:
        path = self.folder / name
        try:
            file = self._files.open_read(path)
            try:
                return file.read_at(0, SIZE_LIMIT)
            finally:
                file.close()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise RookeryError(Cause.UNAVAILABLE, f"{path} cannot be read: {error.strerror}") from error

    def _corrupt(self, name: str, what: str) -> RookeryError:
        return RookeryError(Cause.CORRUPT, f"{self.folder / name}: {what}; restore it from a copy, or join again")

    # --- the node ---

    def state(self) -> NodeState | None:
        """None before it has joined."""
        held, trusted = self._read("node.pem"), self._read("authorities.pem")
        if held is None:
            return None
        if trusted is None:
            raise self._corrupt("authorities.pem", "it is missing")
        try:
            key, certificate = private_key(held), x509.load_pem_x509_certificates(held)[0]
            roots = tuple(der(root) for root in x509.load_pem_x509_certificates(trusted))
            state = NodeState(held, key, certificate, au.Bundle(roots))
        except (ValueError, RookeryError):
            raise self._corrupt("node.pem", "no key with the certificate of a node, or no authorities") from None
        if key.public_key() != certificate.public_key():
            raise self._corrupt("node.pem", "the key of another certificate")
        return state

    def write_state(self, key: PrivateKey, certificate: bytes, chain: tuple[bytes, ...], bundle: au.Bundle) -> None:
        """First the trust, for peers may show certificates of a new authority before this node has one."""
        loaded = [x509.load_der_x509_certificate(one) for one in (certificate, *chain)]
        self._replace("authorities.pem", pem(x509.load_der_x509_certificate(root) for root in bundle.roots))
        self._replace("node.pem", private_pem(key) + pem(loaded))

    def joining_key(self) -> PrivateKey:
        """The same until it has joined: an authority whose answer was lost answers again to the same key only."""
        held = self._read("joining.key")
        if held is not None:
            try:
                return private_key(held)
            except ValueError as error:
                raise self._corrupt("joining.key", str(error)) from None
        made = new_key()
        self._replace("joining.key", private_pem(made))
        return made

    def has_joined(self) -> None:
        """Forget the key of joining, which is in node.pem by now."""
        try:
            self._files.unlink(self.folder / "joining.key")
            self._files.sync_folder(self.folder)
        except OSError as error:
            raise RookeryError(Cause.UNAVAILABLE, f"{self.folder} cannot be written: {error.strerror}") from error

    # --- other nodes ---

    def known(self) -> Known:
        """Nothing when it cannot be read: settings say where to begin."""
        try:
            return msgspec.json.decode(self._read("known.json") or b"{}", type=Known)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return Known()

    def write_known(self, known: Known) -> None:
        self._replace("known.json", msgspec.json.encode(known))

    # --- who is a member no more ---

    def revoked(self) -> Revoked:
        """Of number 0 when none is kept: any directory knows more."""
        held = self._read("revoked")
        if held is None:
            return Revoked(0, frozenset(), frozenset())
        try:
            return msgspec.msgpack.decode(held, type=Revoked)
        except msgspec.MsgspecError:
            raise RookeryError(
                Cause.CORRUPT,
                f"{self.folder / 'revoked'}: no list of revoked nodes; remove it, and a directory is asked",
            ) from None

    def write_revoked(self, revoked: Revoked) -> None:
        """The bound of its members is that of the directory's."""
        self._replace("revoked", msgspec.msgpack.encode(revoked), f".{os.getpid()}")

    # --- the authority ---

    def authority(self) -> au.Authority | None:
        """None where the authority is not."""
        held = self._read("authority.key")
        if held is None:
            return None
        try:
            return au.from_pem(held)
        except ValueError as error:
            raise self._corrupt("authority.key", str(error)) from None

    def write_authority(self, made: au.Authority) -> None:
        """The key that was there is gone."""
        self._replace("authority.key", made.to_pem())
