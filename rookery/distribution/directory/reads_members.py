"""Reads of who belongs to the cluster, over any Reader."""

import hashlib
from collections.abc import Iterable

from rookery.base.members import roles_of
from rookery.distribution.directory import reads
from rookery.distribution.directory.values import AuthorityRecord, Invitation, MemberRecord, Presence, Revoked, Standing
from rookery.storage.engine import Reader, Row

CLUSTER = "cluster"  # the key of its id in `site`


def cluster(reader: Reader) -> str:
    """The id; "" before it was founded."""
    row = reader.row("SELECT value FROM site WHERE key = ?", CLUSTER)
    return "" if row is None else bytes(row[0]).decode("ascii")


def authorities(reader: Reader) -> list[AuthorityRecord]:
    """Oldest first."""
    rows = reader.rows("SELECT authority, certificate, cross_certificate, created FROM authority ORDER BY number")
    return [AuthorityRecord(bytes(id), bytes(own), bytes(cross), created) for id, own, cross, created in rows]


_MEMBER = (
    "SELECT m.name, m.roles, m.joined, m.revoked, (SELECT MAX(c.ends) FROM certificate c WHERE c.name = m.name)"
    " FROM member m "
)


def _member(row: Row) -> MemberRecord:
    name, roles, joined, revoked, ends = row
    return MemberRecord(name, tuple(roles.split()), joined, revoked, ends or 0)


def member(reader: Reader, name: str) -> MemberRecord | None:
    row = reader.row(_MEMBER + "WHERE m.name = ?", name)
    return None if row is None else _member(row)


def members(reader: Reader) -> list[MemberRecord]:
    """In order of their names, revoked ones too."""
    return [_member(row) for row in reader.rows(_MEMBER + "ORDER BY m.name")]


def presences(reader: Reader) -> list[Presence]:
    """Of nodes that are members, in order of their names and backends."""
    rows = reader.rows(
        "SELECT p.name, p.backend, p.address, p.release FROM presence p JOIN member m ON m.name = p.name"
        " WHERE m.revoked = 0 ORDER BY p.name, p.backend"
    )
    return [Presence(*row) for row in rows]


def invitations(reader: Reader) -> list[Invitation]:
    """In order of their names, also those that were used or have expired."""
    rows = reader.rows("SELECT name, roles, token, created, expires, used_by FROM join_token ORDER BY name")
    return [
        Invitation(name, roles_of(roles.split()), bytes(token), created, expires, bool(used))
        for name, roles, token, created, expires, used in rows
    ]


def signed(reader: Reader, authority: bytes, now: int) -> tuple[int, int]:
    """How many certificates of that authority have not ended, and when the last one does, seconds UTC; 0: none."""
    row = reader.row("SELECT COUNT(*), MAX(ends) FROM certificate WHERE authority = ? AND ends > ?", authority, now)
    assert row is not None
    return row[0], row[1] or 0


def fingerprint(roots: Iterable[bytes]) -> bytes:
    """Of authorities' certificates (DER), oldest first; 16 octets."""
    return hashlib.sha256(b"".join(roots)).digest()[:16]


def standing(reader: Reader) -> Standing:
    return Standing(revoked(reader), fingerprint(one.certificate for one in authorities(reader)))


def revoked(reader: Reader) -> Revoked:
    number = reads.last_change(reader)
    names = frozenset(name for (name,) in reader.rows("SELECT name FROM member WHERE revoked > 0"))
    serials = frozenset(bytes(serial) for (serial,) in reader.rows("SELECT serial FROM certificate WHERE revoked > 0"))
    return Revoked(number, names, serials)
