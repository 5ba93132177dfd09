"""A claimed message -> what becomes of each recipient now: ours, others', expanded, or an outcome already.

Loops end here: mail that passed too many hosts, and addresses that stand behind too many others.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from rookery.base.errors import Cause, RookeryError
from rookery.distribution.delivery.outcome import Outcome, own
from rookery.distribution.directory.values import NotLocal, Resolution, Resolved
from rookery.distribution.spool.values import Claimed, ClaimedRecipient, Expansion

HOPS = 50  # Received headers (RFC 5321 section 6.3: at least 100 were usual when hosts were slow to learn)
DEPTH = 10  # expansions between an address as given and one to deliver to
EXPANSION_LIMIT = 20_000  # recipients behind one address

Resolve = Callable[[str], Resolution]


@dataclass(slots=True)
class Sorted:
    """`local`: (recipient, final address with detail). `remote`: by destination. `judged`: nothing left to do."""

    local: list[tuple[ClaimedRecipient, str]] = field(default_factory=list)
    remote: dict[str, list[ClaimedRecipient]] = field(default_factory=dict)
    expanded: list[tuple[ClaimedRecipient, str]] = field(default_factory=list)  # and the alias or group it names
    expansions: list[Expansion] = field(default_factory=list)
    judged: list[tuple[ClaimedRecipient, Outcome]] = field(default_factory=list)


def sort(claimed: Claimed, resolve: Resolve, hops: int = HOPS) -> Sorted:
    found = Sorted()
    if claimed.envelope.hops > hops:
        verdict = own("5.4.6", f"the message has passed {claimed.envelope.hops} hosts: it is in a loop")
        found.judged = [(recipient, verdict) for recipient in claimed.recipients]
        return found
    for recipient in claimed.recipients:
        if recipient.address.endswith("]"):  # an address literal is a host, not a domain (RFC 5321 section 4.1.3)
            found.remote.setdefault(recipient.address.rpartition("@")[2], []).append(recipient)
            continue
        try:
            resolution = resolve(recipient.address)
        except RookeryError as error:
            found.judged.append((recipient, _refused(error)))
            continue
        if isinstance(resolution, Resolved):
            _ours(found, recipient, resolution)
        elif isinstance(resolution, NotLocal):
            found.remote.setdefault(resolution.domain.lower(), []).append(recipient)
        else:
            found.judged.append((recipient, own("5.1.1", resolution.what or "no such address here")))
    return found


def _ours(found: Sorted, recipient: ClaimedRecipient, resolution: Resolved) -> None:
    if not resolution.through and len(resolution.targets) == 1 and not resolution.outside:
        found.local.append((recipient, resolution.targets[0].address))
        return
    members = [target.address for target in resolution.targets] + list(resolution.outside)
    if recipient.depth >= DEPTH:
        found.judged.append((recipient, own("5.4.6", f"more than {DEPTH} addresses behind one another: a loop")))
    elif not members:
        found.judged.append((recipient, own("5.1.1", "the address leads to nobody")))
    elif len(members) > EXPANSION_LIMIT:
        found.judged.append((recipient, own("5.3.4", f"more than {EXPANSION_LIMIT} recipients behind one address")))
    else:
        found.expanded.append((recipient, resolution.through))
        found.expansions.extend(Expansion(recipient.n, member) for member in members)


def _refused(error: RookeryError) -> Outcome:
    if error.cause is Cause.INVALID:
        return own("5.1.3", error.what)
    if error.cause is Cause.TOO_MANY:
        return own("5.4.6", error.what)
    return own("4.3.0", "the directory cannot be asked now")
