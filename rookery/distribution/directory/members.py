"""Who belongs to the cluster, as any directory node sees it, and the acts that need no key of the authority."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from rookery.distribution.directory import acts
from rookery.distribution.directory import reads_members as reads
from rookery.distribution.directory.directory import Directory
from rookery.distribution.directory.rules_members import OneMember, SayPresent
from rookery.distribution.directory.values import AuthorityRecord, Invitation, MemberRecord, Presence, Revoked, Standing
from rookery.storage.engine import Reader

T = TypeVar("T")


class Members:
    """Of one directory. Every method raises RookeryError, UNAVAILABLE while the database is away."""

    __slots__ = ("_directory",)

    def __init__(self, directory: Directory) -> None:
        self._directory = directory

    async def _look(self, read: Callable[[Reader], T]) -> T:
        return await self._directory.aside(lambda directory: directory.read(read))

    async def cluster(self) -> str:
        """The id of the cluster; "" before it was founded."""
        return await self._look(reads.cluster)

    async def authorities(self) -> list[AuthorityRecord]:
        """Oldest first; the last one signs."""
        return await self._look(reads.authorities)

    async def signed(self, authority: bytes) -> tuple[int, int]:
        """Certificates of that authority that have not ended, and the end of the last one, seconds UTC; 0: none."""
        now = self._directory.now()
        return await self._look(lambda reader: reads.signed(reader, authority, now))

    async def members(self) -> list[MemberRecord]:
        return await self._look(reads.members)

    async def invitations(self) -> list[Invitation]:
        return await self._look(reads.invitations)

    async def revoked(self) -> Revoked:
        """To be asked again whenever the directory tells its watchers."""
        return await self._look(reads.revoked)

    async def standing(self) -> Standing:
        """The same, and the authorities."""
        return await self._look(reads.standing)

    async def presences(self) -> list[Presence]:
        """Where the processes of members are, as they have said."""
        return await self._look(reads.presences)

    async def say_present(self, presence: Presence, beside: Sequence[str]) -> None:
        """`beside`: all backends of that node. Raises DENIED when it is no member."""
        await self._directory.act(acts.SAY_PRESENT, SayPresent(presence, tuple(beside), self._directory.now()))

    async def revoke(self, name: str) -> MemberRecord:
        """All certificates of the node count no more, nor does its join token, and it gets none any more."""
        return await self._directory.act(acts.REVOKE_MEMBER, OneMember(name, self._directory.now()))

    async def forget(self, name: str) -> None:
        """A revoked node, once all its certificates have ended."""
        await self._directory.act(acts.FORGET_MEMBER, OneMember(name, self._directory.now()))
