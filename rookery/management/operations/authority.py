"""The cluster's authorities: which there are, and changing the key that signs."""

from typing import TYPE_CHECKING

import msgspec
from cryptography import x509

from rookery.distribution.cluster.registrar import Registrar
from rookery.distribution.directory.members import Members
from rookery.management.membership import files
from rookery.management.operations.registry import operation

if TYPE_CHECKING:
    from rookery.management.parts import Parts


class AuthorityView(msgspec.Struct, frozen=True):
    """signs: it is the newest. here: its key is on this node. certificates: that it signed and that have not ended;
    last: when the last of those does. Times are seconds UTC; 0: there is none.
    """

    authority: str
    signs: bool
    here: bool
    made: int
    ends: int
    certificates: int
    last: int


@operation("cluster.authority")
async def list_authorities(parts: "Parts") -> list[AuthorityView]:
    """Those that nodes trust, oldest first."""
    members = Members(parts.directory)
    known, held = await members.authorities(), files(parts.site).authority()
    return [
        AuthorityView(
            one.id.hex()[:16],
            one is known[-1],
            held is not None and held.id == one.id,
            one.created,
            int(x509.load_der_x509_certificate(one.certificate).not_valid_after_utc.timestamp()),
            *await members.signed(one.id),
        )
        for one in known
    ]


@operation("cluster.roll")
async def roll(parts: "Parts") -> None:
    """A new key signs from now on, and the former one is destroyed; nodes get certificates of it within a minute.

    Raises CONFLICT while the last change is not over, UNSUPPORTED where the key is not.
    """
    await Registrar(parts.directory, files(parts.site)).roll()


@operation("cluster.retire")
async def retire(parts: "Parts") -> int:
    """Trust no former authority whose certificates have all ended; returns how many those were."""
    return await Registrar(parts.directory, files(parts.site)).retire()
