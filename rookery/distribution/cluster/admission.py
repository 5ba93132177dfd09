"""Who is a member no more, as a node knows it, wherever it heard so.

A directory node reads the list from the directory (`Members.revoked`), others are told by one. The list may arrive
twice and in any order: the newest counts, and what an older one has beside is believed too, for a directory that was
restored counts from behind. While nobody can be asked, the last one holds; the folder `cluster` keeps it.
"""

from rookery.base.members import Member
from rookery.distribution.directory.values import Revoked


class Admission:
    """Asked at each handshake, and of every open link when `take` says that somebody was revoked."""

    __slots__ = ("_revoked",)

    def __init__(self, revoked: Revoked | None = None) -> None:
        self._revoked = revoked or Revoked(0, frozenset(), frozenset())

    @property
    def number(self) -> int:
        """Of the list that is known; a node that comes back asks for a newer one."""
        return self._revoked.number

    @property
    def revoked(self) -> Revoked:
        return self._revoked

    def take(self, revoked: Revoked) -> bool:
        """Whether it may have ended a link."""
        known = self._revoked
        if revoked.number < known.number:
            names, serials = known.names | revoked.names, known.serials | revoked.serials
            # What is added may be over by now: whoever has the newest list is to tell it once more.
            number = known.number - ((names, serials) != (known.names, known.serials))
            revoked = Revoked(number, names, serials)
        self._revoked = revoked
        return not (revoked.names <= known.names and revoked.serials <= known.serials)

    def admits(self, member: Member) -> bool:
        return member.name not in self._revoked.names and member.serial not in self._revoked.serials
