"""The authority at work: it founds the cluster, invites nodes, and gives certificates. Only where authority.key is.

Roles and names come from the directory's rows, never from a request. A certificate is recorded, committed, and then
signed.
"""

import asyncio
from collections.abc import Callable, Collection, Sequence
from typing import TypeVar

from rookery.base.config.kinds import NAME
from rookery.base.errors import Cause, RookeryError
from rookery.base.log import logger
from rookery.base.members import Member, Role
from rookery.distribution.cluster import authority as au
from rookery.distribution.cluster import messages, tokens
from rookery.distribution.cluster.certificates import (
    CLUSTER_SIZE,
    SERIAL_SIZE,
    SKEW,
    der,
    key_id,
    make_request,
    new_serial,
    requested_key,
)
from rookery.distribution.cluster.files import ClusterFiles
from rookery.distribution.cluster.messages import Answer, AskBundle, Authorities, Issued, Join, Refused
from rookery.distribution.directory import acts
from rookery.distribution.directory import rules_members as rm
from rookery.distribution.directory.directory import Directory
from rookery.distribution.directory.members import Members
from rookery.distribution.directory.rules import Outcome
from rookery.distribution.directory.values import AuthorityRecord, MemberRecord
from rookery.storage.group_commit import Rule

A = TypeVar("A")

log = logger("cluster")


class Registrar:
    """Of one cluster. `lifetime`: of certificates, seconds."""

    __slots__ = ("_directory", "_files", "_lifetime", "_members", "_signing")

    def __init__(self, directory: Directory, files: ClusterFiles, *, lifetime: int = au.LIFETIME) -> None:
        if not au.LIFETIME_LEAST <= lifetime <= au.LIFETIME_MOST:
            raise RookeryError(
                Cause.INVALID,
                f"the lifetime {lifetime} s of certificates: expected {au.LIFETIME_LEAST} to {au.LIFETIME_MOST}",
            )
        self._directory = directory
        self._files = files
        self._lifetime = lifetime
        self._members = Members(directory)
        self._signing = asyncio.Lock()  # the key does not change between recording and signing

    # --- the cluster and its keys ---

    async def found(self) -> str:
        """Make the cluster and its authority, here; returns its id. Raises EXISTS.

        After a crash in between the key that was made is taken.
        """
        if await self._members.cluster():
            raise RookeryError(Cause.EXISTS, "this directory has a cluster already")
        made = await asyncio.to_thread(self._first)
        await self._directory.act(
            acts.FOUND_CLUSTER, rm.FoundCluster(made.cluster, _record_of(made, self._now()), self._now())
        )
        log.info("cluster-founded", cluster=made.cluster)
        return made.cluster

    def _first(self) -> au.Authority:
        made = self._files.authority()
        if made is None:
            made = au.create(self._directory.random(CLUSTER_SIZE // 2).hex(), self._now())
            self._files.write_authority(made)
        return made

    async def roll(self) -> None:
        """From now on a new key signs, and the old one is no more. Nodes need not know of it before.

        Raises CONFLICT while the last roll-over is not over, or when the newest key is on another node.
        """
        async with self._signing:
            former = await self._signer()
            rm.need_room_for_authority(await self._members.authorities())
            await asyncio.to_thread(self._files.write_authority, former.successor(self._now()))
            signer = await self._signer()
        log.info("authority-changed", former=former.id.hex()[:16], authority=signer.id.hex()[:16])

    async def retire(self) -> int:
        """Drop authorities whose last certificate has ended; returns how many. To be tried now and then."""
        dropped = await self._directory.act(acts.DROP_AUTHORITIES, rm.DropAuthorities(self._now()))
        if dropped:
            log.info("authorities-dropped", count=dropped)
        return dropped

    def _now(self) -> int:
        return self._directory.now()

    async def _signer(self) -> au.Authority:
        """The newest authority, whose key is here. One that the directory lacks, for which its newest one vouches, is
        entered: a crash came between, or the directory was restored from a copy of before."""
        known = await self._members.authorities()
        if not known:
            raise RookeryError(
                Cause.NOT_FOUND, "this directory has no cluster yet; found one with `rookery cluster init`"
            )
        mine = await asyncio.to_thread(self._files.authority)
        if mine is None:
            raise RookeryError(
                Cause.UNSUPPORTED, "the key of the cluster's authority is not on this node; ask one that has the role"
            )
        if mine.id == known[-1].id:
            return mine
        if not mine.is_vouched_by(known[-1].certificate):
            rm.need_newest(known, mine.id)
        act = rm.AddAuthority(_record_of(mine, self._now()), known[-1].id, self._now())
        await self._directory.act(acts.ADD_AUTHORITY, act)
        return mine

    async def bundle(self) -> au.Bundle:
        known = await self._members.authorities()
        crosses = tuple(one.cross for one in known if one.cross)
        return au.Bundle(tuple(one.certificate for one in known), crosses)

    # --- members ---

    async def invite(
        self,
        name: str,
        roles: Collection[Role],
        addresses: Sequence[str],
        port: int,
        *,
        lifetime: int = tokens.LIFETIME,
    ) -> tokens.Token:
        """A token with which one node joins under that name, with those roles. `addresses`: where the authority is
        reached, `port` unless they say another. Raises EXISTS for a node that is a member."""
        name = _name(name)
        if not roles:
            raise RookeryError(Cause.INVALID, f"the node {name} needs at least one role")
        if not 0 < lifetime <= tokens.LIFETIME_MOST:
            raise RookeryError(
                Cause.INVALID, f"the lifetime {lifetime} s of a join token: expected 1 to {tokens.LIFETIME_MOST}"
            )
        async with self._signing:
            signer = await self._signer()
            # The oldest one, which vouches for the newer: a node that trusts no other must know by it whoever signs.
            pin = (await self._members.authorities())[0].id
        token = tokens.make(signer.cluster, pin, addresses, port, self._directory.random)
        now = self._now()
        act = rm.Invite(name, frozenset(roles), token.id, token.hash, now + lifetime, now)
        await self._directory.act(acts.INVITE, act)
        return token

    async def redeem(self, token: bytes, secret: bytes, request: bytes, keeps: str = "") -> Issued:
        """A token's certificate for the key in `request`. Raises DENIED."""
        hash = tokens.hash_of(secret)
        return await self._issue(request, lambda made, now: (acts.REDEEM, rm.Redeem(token, hash, made, now, keeps)))

    async def renew(self, holder: Member, request: bytes) -> Issued:
        """For a node that has shown its certificate, on a link that may be older than that. Raises DENIED for one that
        is revoked, and for a certificate that has ended since."""
        if holder.ends + SKEW <= self._now():
            raise RookeryError(
                Cause.DENIED, f"the certificate of {holder.name} has ended; it is to come back with its key"
            )
        return await self._renew(holder.name, holder.serial, request)

    async def come_back(self, name: str, request: bytes) -> Issued:
        """For a node whose certificate ended less than 30 days ago: it has signed with that certificate's key."""
        return await self._renew(name, b"", request)

    async def _renew(self, name: str, serial: bytes, request: bytes) -> Issued:
        name = _name(name)
        return await self._issue(request, lambda made, now: (acts.RENEW, rm.Renew(name, serial, made, now)))

    async def _issue(
        self,
        request: bytes,
        act: Callable[[rm.NewCertificate, int], tuple[Rule[A, Outcome[MemberRecord]], A]],
    ) -> Issued:
        key = requested_key(request)
        async with self._signing:
            signer, now = await self._signer(), self._now()
            serial = new_serial(self._directory.random(SERIAL_SIZE))
            rule, argument = act(rm.NewCertificate(serial, signer.id, key_id(key), now + self._lifetime), now)
            member = await self._directory.act(rule, argument)
        certificate = signer.issue(key, member.name, member.words, serial, now, self._lifetime)
        log.info(
            "certificate-issued", node=member.name, roles=" ".join(member.words), serial=serial.hex(), rule=rule.name
        )
        return Issued(certificate, signer.chain, await self.bundle())

    async def enrol_here(self, name: str, roles: Collection[Role]) -> None:
        """Make the node on which the authority is a member, as by a token. Raises EXISTS."""
        token = await self.invite(name, roles, ["localhost"], 1)
        key = await asyncio.to_thread(self._files.joining_key)
        issued = await self.redeem(token.id, token.secret, make_request(key))
        await asyncio.to_thread(self._files.write_state, key, issued.certificate, issued.chain, issued.bundle)
        await asyncio.to_thread(self._files.has_joined)

    # --- questions of nodes without a certificate ---

    async def answer(self, question: bytes) -> bytes:
        """Never raises RookeryError. Who asks has shown nothing: it gets what is public, or for what it proves."""
        try:
            answer: Answer = await self._answer(question)
        except RookeryError as error:
            answer = Refused(error.refusal)
        return messages.encode(answer)

    async def _answer(self, data: bytes) -> Answer:
        question = messages.read_question(data)
        if isinstance(question, AskBundle):
            return Authorities(await self.bundle())
        if isinstance(question, Join):
            return await self.redeem(question.token, question.secret, question.request, question.keeps)
        return await self.come_back(question.name, question.request)


def _record_of(made: au.Authority, now: int) -> AuthorityRecord:
    return AuthorityRecord(made.id, der(made.certificate), b"".join(made.chain), now)


def _name(text: str) -> str:
    try:
        return NAME.read(text)
    except ValueError:
        raise RookeryError(Cause.INVALID, f"the node {text[:80]!r}: expected {NAME.expected}") from None
