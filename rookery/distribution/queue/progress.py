"""One claimed message while its deliveries are under way.

What was delivered or deferred is settled as soon as it is known. What failed waits for the last delivery of the claim,
so that the sender gets one notice, and is settled together with it.
"""

from rookery.distribution.spool.values import ClaimedRecipient, Envelope, Expansion, Fate, State


class Progress:
    """`parts`: deliveries without an outcome yet."""

    __slots__ = ("envelope", "expansions", "failed", "parts", "ready")

    def __init__(self, envelope: Envelope, parts: int) -> None:
        self.envelope = envelope
        self.parts = parts
        self.ready: list[tuple[ClaimedRecipient, Fate]] = []
        self.failed: list[tuple[ClaimedRecipient, Fate]] = []
        self.expansions: tuple[Expansion, ...] = ()

    def add(self, recipient: ClaimedRecipient, fate: Fate) -> None:
        (self.failed if fate.state is State.FAILED else self.ready).append((recipient, fate))

    def due(self) -> "Act | None":
        """What can be settled now, once."""
        last = self.parts == 0
        if not self.ready and not (last and self.failed):
            return None
        act = Act(self.envelope, self.ready, self.failed if last else [], self.expansions)
        self.ready, self.expansions = [], ()
        if last:
            self.failed = []
        return act


class Act:
    """Fates to settle in one transaction; `failed` ones are told to the sender in it, with the message's `head`."""

    __slots__ = ("envelope", "expansions", "failed", "head", "ready")

    def __init__(
        self,
        envelope: Envelope,
        ready: list[tuple[ClaimedRecipient, Fate]],
        failed: list[tuple[ClaimedRecipient, Fate]],
        expansions: tuple[Expansion, ...] = (),
    ) -> None:
        self.envelope = envelope
        self.ready = ready
        self.failed = failed
        self.expansions = expansions
        self.head: bytes | None = None  # not read yet

    @property
    def fates(self) -> tuple[Fate, ...]:
        return tuple(fate for _, fate in (*self.ready, *self.failed))
