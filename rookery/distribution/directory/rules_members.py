"""Acts on who belongs to the cluster: authorities, join tokens, certificates, revocation.

What a node may do is said when it is invited, and kept here; no node says it of itself. A certificate is recorded
before it is signed, so that a revocation, before or after, never misses one.
"""

import hmac

import msgspec

from rookery.base.errors import Cause, RookeryError
from rookery.base.members import Role, keeps, roles_of, roles_text
from rookery.distribution.directory import reads_members as reads
from rookery.distribution.directory.rules import Outcome, note
from rookery.distribution.directory.values import AuthorityRecord, Kind, MemberRecord, Presence, Verb
from rookery.storage.engine import Transaction

MEMBERS_LIMIT = 1000
AUTHORITIES_LIMIT = 2  # a roll-over ends before the next one begins
AWAY_LIMIT = 30 * 86400  # seconds since its certificate ended in which a node gets another one without being invited
SKEW = 300  # seconds by which clocks of nodes may differ: for so long after its end a certificate may be taken


class FoundCluster(msgspec.Struct, frozen=True):
    cluster: str
    authority: AuthorityRecord
    at: int


class AddAuthority(msgspec.Struct, frozen=True):
    """`former`: the newest one until now."""

    authority: AuthorityRecord
    former: bytes
    at: int


class DropAuthorities(msgspec.Struct, frozen=True):
    at: int


class Invite(msgspec.Struct, frozen=True):
    """`token` is looked for, and `hash`, SHA-256 of the secret in it, is compared."""

    name: str
    roles: frozenset[Role]
    token: bytes
    hash: bytes
    expires: int
    at: int


class NewCertificate(msgspec.Struct, frozen=True):
    """To be signed when this is committed. `authority`, `key`: ids."""

    serial: bytes
    authority: bytes
    key: bytes
    ends: int


class Redeem(msgspec.Struct, frozen=True):
    """`keeps`: what the node has been made for, "" if it does not say."""

    token: bytes
    hash: bytes
    made: NewCertificate
    at: int
    keeps: str = ""


class Renew(msgspec.Struct, frozen=True):
    """`serial`: of the certificate with which the node has shown that it is `name`; b"": it has shown that it has
    the key of one, that of `made`."""

    name: str
    serial: bytes
    made: NewCertificate
    at: int


class OneMember(msgspec.Struct, frozen=True):
    name: str
    at: int


class SayPresent(msgspec.Struct, frozen=True):
    """`beside`: all backends of that node, () for none; others that it has had are no more."""

    presence: Presence
    beside: tuple[str, ...]
    at: int


# --- authorities ----------------------------------------------------------------------------------------------------


def found_cluster(tx: Transaction, act: FoundCluster) -> Outcome[None]:
    if reads.cluster(tx):
        raise RookeryError(
            Cause.EXISTS, "this directory has a cluster already; add a node to it with `rookery node add NAME`"
        )
    note(tx, act.at, (Kind.AUTHORITY, act.authority.id.hex(), Verb.CREATED))
    tx.insert_many("site", ("key", "value"), [(reads.CLUSTER, act.cluster.encode("ascii"))])
    _enter(tx, 1, act.authority)
    return Outcome(None)


def _enter(tx: Transaction, number: int, made: AuthorityRecord) -> None:
    columns = ("number", "authority", "certificate", "cross_certificate", "created")
    tx.insert_many("authority", columns, [(number, made.id, made.certificate, made.cross, made.created)])


def add_authority(tx: Transaction, act: AddAuthority) -> Outcome[None]:
    """It signs from now on."""
    known = reads.authorities(tx)
    need_newest(known, act.former)
    need_room_for_authority(known)
    note(tx, act.at, (Kind.AUTHORITY, act.authority.id.hex(), Verb.CREATED))
    row = tx.row("SELECT MAX(number) FROM authority")
    assert row is not None
    _enter(tx, row[0] + 1, act.authority)
    return Outcome(None)


def need_room_for_authority(known: list[AuthorityRecord]) -> None:
    if len(known) >= AUTHORITIES_LIMIT:
        raise RookeryError(
            Cause.CONFLICT,
            "the last change of the cluster's key is not over: nodes may have certificates of the key before it",
        )


def need_newest(known: list[AuthorityRecord], id: bytes) -> None:
    if not known or known[-1].id != id:
        raise RookeryError(
            Cause.CONFLICT,
            "the key of this node is not the cluster's newest; copy authority.key from the node on which it was made",
        )


def drop_authorities(tx: Transaction, act: DropAuthorities) -> Outcome[int]:
    """Those before the newest, whose last certificate has ended; returns how many."""
    dropped = 0
    for former in reads.authorities(tx)[:-1]:
        row = tx.row("SELECT MAX(ends) FROM certificate WHERE authority = ?", former.id)
        if row is not None and row[0] is not None and row[0] + SKEW > act.at:
            break
        note(tx, act.at, (Kind.AUTHORITY, former.id.hex(), Verb.DESTROYED))
        tx.run("DELETE FROM authority WHERE authority = ?", former.id)
        dropped += 1
    return Outcome(dropped)


# --- joining --------------------------------------------------------------------------------------------------------


def invite(tx: Transaction, act: Invite) -> Outcome[None]:
    """A token made before for the same name counts no more."""
    _need_cluster(tx)
    have = reads.member(tx, act.name)
    if have is not None and not have.revoked:
        raise _exists(act.name)
    count = tx.row("SELECT (SELECT COUNT(*) FROM member) + (SELECT COUNT(*) FROM join_token WHERE used_by = ?)", b"")
    if have is None and count is not None and count[0] >= MEMBERS_LIMIT:
        raise RookeryError(
            Cause.TOO_MANY,
            f"a cluster has at most {MEMBERS_LIMIT} nodes, invited and revoked ones among them; see `rookery node"
            " list`, and forget revoked ones",
        )
    expired = tx.rows("SELECT name FROM join_token WHERE expires <= ? AND name <> ?", act.at, act.name)
    note(
        tx,
        act.at,
        (Kind.MEMBER, act.name, Verb.CREATED),
        *((Kind.MEMBER, name, Verb.CHANGED) for (name,) in expired),
    )
    tx.run("DELETE FROM join_token WHERE name = ? OR expires <= ?", act.name, act.at)
    columns = ("name", "token", "hash", "roles", "created", "expires", "used_by")
    values = (act.name, act.token, act.hash, roles_text(act.roles), act.at, act.expires, b"")
    tx.insert_many("join_token", columns, [values])
    return Outcome(None)


def _need_cluster(tx: Transaction) -> None:
    if not reads.cluster(tx):
        raise RookeryError(Cause.NOT_FOUND, "this directory has no cluster yet; found one with `rookery cluster init`")


def _exists(name: str) -> RookeryError:
    return RookeryError(
        Cause.EXISTS, f"{name} is a node of the cluster; if it is gone for good: `rookery node revoke {name}`"
    )


_NO_TOKEN = (
    "this join token is not known: it has expired, or was replaced or revoked; make one: `rookery node add NAME`"
)


def redeem(tx: Transaction, act: Redeem) -> Outcome[MemberRecord]:
    """Makes the node a member. Once: afterwards only the same key, whose owner may have lost the answer, gets another.

    Who does not know the secret learns nothing else.
    """
    row = tx.row("SELECT name, hash, roles, expires, used_by FROM join_token WHERE token = ?", act.token)
    hash = bytes(32) if row is None else bytes(row[1])
    if not hmac.compare_digest(hash, act.hash) or row is None:
        raise RookeryError(Cause.DENIED, _NO_TOKEN)
    name, _, roles, expires, used = row
    if act.at >= expires:
        raise RookeryError(
            Cause.DENIED, f"the join token of {name} has expired; make another: `rookery node add {name}`"
        )
    if used and not hmac.compare_digest(bytes(used), act.made.key):
        raise RookeryError(
            Cause.DENIED,
            f"the join token of {name} has been used; if not by you, somebody else has joined with it:"
            f" `rookery node revoke {name}`",
        )
    kept = keeps(roles_of(roles.split()))
    if act.keeps not in ("", kept):
        raise RookeryError(
            Cause.DENIED,
            f"the join token of {name} is for a node that keeps {kept} ({roles}), and this one is made to keep"
            f" {act.keeps[:20]}; make another with the roles that it is to have, or make the node so",
        )
    have = reads.member(tx, name)
    if have is not None and not have.revoked and not used:
        raise _exists(name)
    _need_signer(tx, act.made)
    _record(tx, name, act.made, act.at)
    if not used:
        tx.run("UPDATE join_token SET used_by = ? WHERE name = ?", act.made.key, name)
        tx.run("DELETE FROM member WHERE name = ?", name)
        tx.insert_many("member", ("name", "roles", "joined", "revoked"), [(name, roles, act.at, 0)])
    return Outcome(_need_member(tx, name))


def renew(tx: Transaction, act: Renew) -> Outcome[MemberRecord]:
    have = reads.member(tx, act.name)
    if have is None or have.revoked or not _is_proof(tx, act):
        raise RookeryError(
            Cause.DENIED,
            f"{act.name} gets no certificate: it was revoked, or was away for too long, or is not known; add it again"
            f" with `rookery node add {act.name}`",
        )
    _need_signer(tx, act.made)
    _record(tx, act.name, act.made, act.at)
    return Outcome(_need_member(tx, act.name))


def _is_proof(tx: Transaction, act: Renew) -> bool:
    """A serial that is not known is of a certificate that was given after this directory's copy was made."""
    if act.serial:
        row = tx.row("SELECT name, revoked FROM certificate WHERE serial = ?", act.serial)
        return row is None or (row[0] == act.name and not row[1])
    row = tx.row(
        "SELECT serial FROM certificate WHERE name = ? AND key_id = ? AND revoked = 0 AND ends > ? LIMIT 1",
        act.name,
        act.made.key,
        act.at - AWAY_LIMIT,
    )
    return row is not None


def _need_signer(tx: Transaction, made: NewCertificate) -> None:
    need_newest(reads.authorities(tx), made.authority)


def _record(tx: Transaction, name: str, made: NewCertificate, at: int) -> None:
    """And forget those that have ended: who gets this one has just shown a better one, or the same key."""
    note(tx, at, (Kind.MEMBER, name, Verb.CHANGED))
    tx.run("DELETE FROM certificate WHERE name = ? AND ends + ? <= ?", name, SKEW, at)
    columns = ("serial", "name", "authority", "key_id", "ends", "revoked")
    tx.insert_many("certificate", columns, [(made.serial, name, made.authority, made.key, made.ends, 0)])


def _need_member(tx: Transaction, name: str) -> MemberRecord:
    found = reads.member(tx, name)
    if found is None:
        raise RookeryError(Cause.NOT_FOUND, f"there is no node {name[:80]}; see `rookery node list`")
    return found


# --- where it is -----------------------------------------------------------------------------------------------------


def say_present(tx: Transaction, act: SayPresent) -> Outcome[None]:
    """Roles it does not say: they are in the member's row."""
    said = act.presence
    have = reads.member(tx, said.name)
    if have is None or have.revoked:
        raise RookeryError(Cause.DENIED, f"{said.name[:80]} is no node of the cluster")
    known = [one for one in reads.presences(tx) if one.name == said.name]
    gone = [one.backend for one in known if one.backend not in (said.backend, *act.beside)]
    if said in known and not gone:
        return Outcome(None)
    note(tx, act.at, (Kind.MEMBER, said.name, Verb.CHANGED))
    for backend in (said.backend, *gone):
        tx.run("DELETE FROM presence WHERE name = ? AND backend = ?", said.name, backend)
    columns = ("name", "backend", "address", "release")
    tx.insert_many("presence", columns, [(said.name, said.backend, said.address, said.release)])
    return Outcome(None)


# --- leaving --------------------------------------------------------------------------------------------------------


def revoke_member(tx: Transaction, act: OneMember) -> Outcome[MemberRecord]:
    """All its certificates and its token count no more. A name that was only invited is forgotten."""
    have = reads.member(tx, act.name)
    row = tx.row("SELECT roles, created FROM join_token WHERE name = ?", act.name)
    if have is None and row is None:
        _need_member(tx, act.name)
    note(tx, act.at, (Kind.MEMBER, act.name, Verb.DESTROYED))
    tx.run("DELETE FROM join_token WHERE name = ?", act.name)
    if have is None:
        assert row is not None
        return Outcome(MemberRecord(act.name, tuple(row[0].split()), 0, act.at, 0))
    tx.run("UPDATE member SET revoked = ? WHERE name = ? AND revoked = 0", act.at, act.name)
    tx.run("UPDATE certificate SET revoked = ? WHERE name = ? AND revoked = 0", act.at, act.name)
    return Outcome(_need_member(tx, act.name))


def forget_member(tx: Transaction, act: OneMember) -> Outcome[None]:
    """One that is revoked, and has no certificate that anybody would take."""
    have = _need_member(tx, act.name)
    if not have.revoked:
        raise RookeryError(
            Cause.IN_USE, f"{act.name} is a node of the cluster; revoke it first: `rookery node revoke {act.name}`"
        )
    if have.ends + SKEW > act.at:
        raise RookeryError(
            Cause.IN_USE, f"{act.name} has a certificate that ends in {have.ends + SKEW - act.at} s; forget it then"
        )
    note(tx, act.at, (Kind.MEMBER, act.name, Verb.DESTROYED))
    for table in ("join_token", "certificate", "presence", "member"):
        tx.run(f"DELETE FROM {table} WHERE name = ?", act.name)
    return Outcome(None)
