"""What goes into and comes out of the directory: plain values, no behaviour.

Addresses are canonical here (addresses.py). Times are whole seconds UTC.
"""

from enum import Enum
from typing import TypeAlias

import msgspec

from rookery.base.ids import AccountId
from rookery.base.members import Role, roles_of


class Kind(Enum):
    """What an address names, and what a change is about."""

    DOMAIN = 1
    ACCOUNT = 2
    ALIAS = 3
    GROUP = 4
    CREDENTIAL = 5
    NAME = 6
    MEMBER = 7  # with its join token and its certificates
    AUTHORITY = 8
    EXPANSION = 9  # an alias or a group, by its id
    POOL = 10


class Verb(Enum):
    CREATED = 1
    CHANGED = 2
    DESTROYED = 3


class AccountState(Enum):
    ACTIVE = 1
    DISABLED = 2  # gets mail, cannot log in
    REMOVED = 3  # neither; the address stays taken until `removed_until`, then the account is purged


class Domain(msgspec.Struct, frozen=True):
    """`aliases`: other names under which every address of the domain exists too. `pool`: where its new accounts are
    made, 0 for no pool of its own. `local`: none of its accounts is or comes to be anywhere else."""

    id: int
    name: str
    aliases: tuple[str, ...]
    created: int
    pool: int = 0
    local: bool = False


class AccountRecord(msgspec.Struct, frozen=True):
    """`version` rises with every change of credentials or state: a check made under another version counts no more.
    `pool`: which has its mail, 0 for the directory's first one."""

    account: AccountId
    address: str
    state: AccountState
    removed_until: int
    name: str
    size_limit: int
    message_limit: int
    admin: bool
    created: int
    version: int
    domain: int
    pool: int = 0


class Alias(msgspec.Struct, frozen=True):
    """An address that stands for one or several others, anywhere."""

    address: str
    targets: tuple[str, ...]
    created: int


class Group(msgspec.Struct, frozen=True):
    """An address for people who belong together; members may be anywhere, groups among them."""

    address: str
    name: str
    members: tuple[str, ...]
    created: int


class CredentialKind(Enum):
    PASSWORD = 1
    APP_PASSWORD = 2
    SCRAM = 3  # keys of one of the two above, its `parent`


class Credential(msgspec.Struct, frozen=True):
    """`data`: a hash with its {SCHEME}; for SCRAM stored key and server key, 32 octets each, in base64."""

    id: bytes
    kind: CredentialKind
    parent: bytes
    label: str
    data: str
    created: int


class Credentials(msgspec.Struct, frozen=True):
    """All of one account, as of `version`. An empty salt: no SCRAM keys were ever made."""

    version: int
    scram_salt: bytes
    scram_iterations: int
    rows: tuple[Credential, ...]


class LastLogin(msgspec.Struct, frozen=True):
    at: int
    protocol: str
    address: str


class Change(msgspec.Struct, frozen=True):
    """One row of the directory's change log.

    `object` says by its key which rows changed, all of which belong to an object that is named: the number of a domain
    or a pool, the id of an account, an expansion or an authority in hexadecimal, the name of a node. A NAME is an
    address that was given up, and names no rows.
    """

    number: int
    kind: Kind
    object: str
    verb: Verb
    at: int


# --- pools ---------------------------------------------------------------------------------------------------------


class PoolKind(Enum):
    STATIC = 1  # one backend, whose folder has the store
    DYNAMIC = 2  # several, and a database that has it


class PoolBackend(msgspec.Struct, frozen=True):
    """Where a backend is reached, as host:port: by IMAP, by LMTP and by other nodes of the cluster; "" where it has no
    such listener. One of the former release tells no cluster port."""

    backend: str
    address: str
    lmtp: str
    cluster: str = ""


class Pool(msgspec.Struct, frozen=True):
    """A store and its backends. `store`: its id, "" before one of them has registered. `open`: policies may choose it.
    `generation`: of that store; a copy of it with a lower one serves nobody any more (storage/promotion.py).

    `address`, `lmtp`: given by hand, they count in place of those of the backends. `free`: octets, None: not known.
    """

    id: int
    name: str
    kind: PoolKind
    store: str
    address: str
    lmtp: str
    open: bool
    free: int | None
    created: int
    backends: tuple[PoolBackend, ...] = ()
    generation: int = 1

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where clients are sent."""
        return (self.address,) if self.address else tuple(one.address for one in self.backends if one.address)

    @property
    def lmtp_addresses(self) -> tuple[str, ...]:
        """Where deliveries are sent."""
        return (self.lmtp,) if self.lmtp else tuple(one.lmtp for one in self.backends if one.lmtp)

    @property
    def cluster_addresses(self) -> tuple[str, ...]:
        """Where other nodes reach its backends; none that is of the former release, or of no cluster."""
        return tuple(one.cluster for one in self.backends if one.cluster)


# --- members of the cluster ----------------------------------------------------------------------------------------


class AuthorityRecord(msgspec.Struct, frozen=True):
    """An authority that is trusted; the newest one signs. `id`: SHA-256 of its public key. Certificates are DER;
    `cross`: what the one before signed of it, b"" for the first."""

    id: bytes
    certificate: bytes
    cross: bytes
    created: int


class MemberRecord(msgspec.Struct, frozen=True):
    """A node that has joined. `words`: its roles as written, those too that this release does not know. `revoked`:
    when, 0 for never. `ends`: of its last certificate, 0 when that is forgotten."""

    name: str
    words: tuple[str, ...]
    joined: int
    revoked: int
    ends: int

    @property
    def roles(self) -> frozenset[Role]:
        return roles_of(self.words)


class Presence(msgspec.Struct, frozen=True):
    """What a process of a member says of itself. `backend`: "" where it serves no pool. `address`: host:port of its
    cluster port."""

    name: str
    backend: str
    address: str
    release: str


class Invitation(msgspec.Struct, frozen=True):
    """A node that may join with its token, until `expires`. Of the token only hashes are kept."""

    name: str
    roles: frozenset[Role]
    token: bytes
    created: int
    expires: int
    used: bool


class Revoked(msgspec.Struct, frozen=True):
    """Who is a member no more, and which certificates count no more, as of change `number` of the directory."""

    number: int
    names: frozenset[str]
    serials: frozenset[bytes]


class Standing(msgspec.Struct, frozen=True):
    """What every node must know of its cluster. `trust`: a digest of the authorities' certificates."""

    revoked: Revoked
    trust: bytes


# --- passwords as they are handed in ------------------------------------------------------------------------------


class Plain(msgspec.Struct, frozen=True):
    """A password as its owner knows it."""

    password: str


class Hashed(msgspec.Struct, frozen=True):
    """A hash from elsewhere, with its {SCHEME}."""

    data: str


Secret: TypeAlias = Plain | Hashed


# --- resolving -----------------------------------------------------------------------------------------------------


class Target(msgspec.Struct, frozen=True):
    """Deliver to `account`; `address` is the final address, with the detail ("alice+lists@example.test")."""

    account: AccountId
    address: str


class Resolved(msgspec.Struct, frozen=True):
    """Where mail for an address goes.

    `through`: the alias or group it names, "" for an account itself. `missing`: members of ours that lead nowhere.
    """

    targets: tuple[Target, ...]
    outside: tuple[str, ...] = ()
    through: str = ""
    missing: tuple[str, ...] = ()


class Unknown(msgspec.Struct, frozen=True):
    """The domain is ours, the address is not; or it leads nowhere (`what` says why)."""

    what: str = ""


class NotLocal(msgspec.Struct, frozen=True):
    """The domain is not ours."""

    domain: str


Resolution: TypeAlias = Resolved | Unknown | NotLocal
