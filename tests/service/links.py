"""The near end of a link, whose far end keeps what it hears."""

from typing import cast

from rookery.base.members import Member
from rookery.net.cluster.link import Link
from rookery.wire.cluster.values import Signal


class Ended:
    def __init__(self, peer: Member) -> None:
        self.peer = peer
        self.closed = False
        self._heard: list[Signal] = []

    @property
    def link(self) -> Link:
        return cast(Link, self)

    def signal(self, signal: Signal) -> None:
        self._heard.append(signal)

    def heard(self) -> list[Signal]:
        """Since it was last asked."""
        said, self._heard = self._heard, []
        return said
