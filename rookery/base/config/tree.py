"""Every setting there is: the sections of rookery.toml as dataclasses, and from them the one SETTINGS table.

The commented file that `rookery init` writes, docs/settings.md and all error messages come from here. Sizes are octets
and durations are seconds once read. A setting marked `restart` is read at the start only.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import Enum
from typing import Any, TypeVar, cast

from rookery.base.config.kinds import (
    DURATION,
    FLAG,
    HOST_NAME,
    HOST_NAME_OR_NONE,
    LISTEN_ADDRESS,
    NAME,
    NAME_SERVER,
    NETWORK,
    PORT,
    SIZE,
    TEXT,
    Endpoint,
    Kind,
    ListenAddress,
    Network,
    count,
    endpoint,
    list_of,
    one_of,
    table_of,
)

T = TypeVar("T")

KB, MB = 1024, 1024 * 1024
MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0


@dataclass(frozen=True, slots=True)
class _About:
    kind: Kind[Any]
    text: str
    restart: bool


def setting(kind: Kind[T], default: T, text: str, *, restart: bool = False) -> T:
    """A field of a section: its kind, its default, and what the administrator reads about it."""
    return field(default=default, metadata={"about": _About(kind, text, restart)})


class LogFormat(Enum):
    TEXT = "text"
    JSON = "json"


class LogLevel(Enum):
    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class Placing(Enum):
    """Which pool has a new account, where neither `--pool` nor its domain says so."""

    HERE = "here"
    FEWEST_ACCOUNTS = "fewest-accounts"
    MOST_SPACE = "most-space"
    ROUND_ROBIN = "round-robin"


class Share(Enum):
    """Whose credentials a copy of the directory has."""

    ALL = "all"
    POOL = "pool"


def _networks(*texts: str) -> tuple[Network, ...]:
    return tuple(NETWORK.read(text) for text in texts)


@dataclass(frozen=True, slots=True)
class Site:
    """Who this is."""

    domain: str = setting(
        HOST_NAME, "example.test", "The default domain: a login name without @ belongs to it.", restart=True
    )
    own_domain: str = setting(
        HOST_NAME_OR_NONE,
        "",
        "A domain of this node's pool alone, such as the host name of the node: made when it starts, with an account"
        ' postmaster, which is told of what fails; "" for none.',
        restart=True,
    )
    hostname: str = setting(
        HOST_NAME, "localhost", "The name this node greets with, and puts into Received headers.", restart=True
    )
    user: str = setting(
        TEXT, "", 'The user to become once the ports are open, when started as root; "" stays as started.', restart=True
    )
    control: str = setting(
        TEXT,
        "control.sock",
        "The socket by which `rookery` talks to the running node; only its owner may.",
        restart=True,
    )


@dataclass(frozen=True, slots=True)
class Listen:
    """Where connections are taken. A port of 0 opens no such listener."""

    addresses: tuple[ListenAddress, ...] = setting(
        list_of(LISTEN_ADDRESS, least=1),
        ("127.0.0.1", "::1"),
        'Addresses of all mail listeners. Loopback only unless told otherwise; ["0.0.0.0", "::"] is everywhere.',
        restart=True,
    )
    port_offset: int = setting(PORT, 0, "Added to every port below that is not 0.", restart=True)
    smtp: int = setting(PORT, 25, "Mail from other servers (MX), for local domains only.", restart=True)
    submission: int = setting(PORT, 587, "Mail from users, with STARTTLS and a login.", restart=True)
    submissions: int = setting(PORT, 465, "Mail from users, TLS from the first octet.", restart=True)
    lmtp: int = setting(PORT, 24, "Mail from an MTA in front, from lmtp.trusted only.", restart=True)
    imap: int = setting(PORT, 143, "IMAP with STARTTLS.", restart=True)
    imaps: int = setting(PORT, 993, "IMAP, TLS from the first octet.", restart=True)
    cluster: int = setting(
        PORT, 7143, "Where other nodes of a cluster reach this one; open once it has joined.", restart=True
    )
    join: int = setting(PORT, 7144, "Where new nodes join; open where the cluster's authority is.", restart=True)
    proxy_from: tuple[Network, ...] = setting(
        list_of(NETWORK), (), "Load balancers whose connections begin with a PROXY header (v1 or v2).", restart=True
    )


@dataclass(frozen=True, slots=True)
class Http:
    """/healthz and /metrics."""

    address: ListenAddress = setting(LISTEN_ADDRESS, "127.0.0.1", "Where /healthz and /metrics answer.", restart=True)
    port: int = setting(PORT, 9464, "Their port, plus listen.port_offset; 0 opens none.", restart=True)


@dataclass(frozen=True, slots=True)
class Tls:
    """The certificate of all listeners. Renewed files are taken up by SIGHUP."""

    certificate: str = setting(TEXT, "tls/cert.pem", "PEM file, the chain included; relative to the site.")
    key: str = setting(TEXT, "tls/key.pem", "PEM file of its private key.")
    names: tuple[str, ...] = setting(
        list_of(HOST_NAME), (), "Names the certificate must hold besides site.hostname; `rookery check` tells."
    )


@dataclass(frozen=True, slots=True)
class Limits:
    """What one peer may take."""

    connections: int = setting(
        count(1, 1_000_000),
        15_000,  # with what a node opens besides still below the 20,000 files that many machines allow
        "Connections of all listeners together; each takes an open file, and a node some 200 besides.",
        restart=True,
    )
    connections_per_address: int = setting(
        count(1, 1_000_000), 100, "Connections of one address (of one /64 for IPv6) to one listener.", restart=True
    )
    before_login: int = setting(
        count(1, 1_000_000), 10, "How many of those may not have logged in yet (IMAP and submission).", restart=True
    )


@dataclass(frozen=True, slots=True)
class Smtp:
    """Mail coming in, by MX and by submission."""

    message_size: int = setting(SIZE, 50 * MB, "The largest message taken (SIZE).")
    recipients: int = setting(count(1, 100_000), 1000, "Recipients of one message.")
    hops: int = setting(count(5, 200), 50, "Received headers after which a message is taken to be looping.")
    idle: float = setting(DURATION, 5 * MINUTE, "A silent connection is closed after this (RFC 5321 section 4.5.3.2).")


@dataclass(frozen=True, slots=True)
class Lmtp:
    """Mail from an MTA in front."""

    trusted: tuple[Network, ...] = setting(
        list_of(NETWORK), _networks("127.0.0.0/8", "::1/128"), "Who may connect to the LMTP port."
    )


@dataclass(frozen=True, slots=True)
class Imap:
    """Mail being read."""

    idle: float = setting(
        DURATION, 30 * MINUTE, "A silent connection is closed after this (RFC 9051 section 5.4: not below 30m)."
    )
    idle_before_login: float = setting(DURATION, 1 * MINUTE, "The same before the login.")
    sessions: int = setting(count(1, 100_000), 200, "Sessions of one account at the same time, from all its addresses.")


@dataclass(frozen=True, slots=True)
class Auth:
    """Logins."""

    scram: bool = setting(
        FLAG,
        False,
        "Offer SCRAM-SHA-256, keeping its keys beside the hashes: made when a password is set or first proved.",
    )
    plaintext_on_loopback: bool = setting(
        FLAG, True, "Take passwords without TLS from loopback addresses; from anywhere else never."
    )
    threads: int = setting(count(1, 64), 2, "Passwords hashed at the same time (argon2id, 19 MiB each).", restart=True)
    remember: float = setting(
        DURATION, 1 * HOUR, "How long a proved password is remembered in memory, under a keyed hash.", restart=True
    )


@dataclass(frozen=True, slots=True)
class Directory:
    """Domains, accounts, aliases, groups, credentials."""

    database: str = setting(
        TEXT,
        "",
        'A PostgreSQL connection string: the directory is kept there, for several nodes; "" keeps it in the site.',
        restart=True,
    )
    replica: bool = setting(
        FLAG,
        False,
        "Keep a copy of the cluster's directory in the site, and follow the primary, which is one of cluster.directory."
        " A copy that was promoted is the primary, whatever this says.",
        restart=True,
    )
    share: Share = setting(
        one_of(Share),
        Share.ALL,
        "Whose credentials a copy has: those of all accounts, or of the accounts of this node's pool.",
        restart=True,
    )
    placement: Placing = setting(
        one_of(Placing),
        Placing.HERE,
        "Which pool has an account that is added without `--pool`, in a domain without a pool: this node's own, or"
        " one of those that are open for new accounts.",
    )


@dataclass(frozen=True, slots=True)
class Quota:
    """What a new account gets; an account's own limits are set with `rookery account change`."""

    size: int = setting(SIZE, 0, "Octets an account may hold; 0 is no limit.")
    messages: int = setting(count(0, 1 << 40), 0, "Messages an account may hold; 0 is no limit.")


@dataclass(frozen=True, slots=True)
class Queue:
    """Mail on its way."""

    lifetime: float = setting(DURATION, 5 * DAY, "A message not delivered for so long is returned to its sender.")
    retry: tuple[float, ...] = setting(
        list_of(DURATION, least=1),
        (1 * MINUTE, 5 * MINUTE, 15 * MINUTE, 30 * MINUTE, 1 * HOUR, 2 * HOUR, 4 * HOUR),
        "Waits between attempts; the last one repeats.",
    )
    deliveries: int = setting(count(1, 10_000), 100, "Remote deliveries at the same time.", restart=True)
    database: str = setting(
        TEXT,
        "",
        "A PostgreSQL connection string: the queue is kept there, and a node takes over what a dead one had begun;"
        ' "" keeps it in the site.',
        restart=True,
    )
    smarthost: Endpoint | None = setting(
        endpoint(25),
        None,
        "Send all outgoing mail through this host instead of by DNS; port 465 is TLS from the first octet.",
        restart=True,
    )
    smarthost_login: str = setting(TEXT, "", 'Log in there with this name; "" does not.', restart=True)
    smarthost_password_file: str = setting(
        TEXT, "keys/smarthost-password", "Its first line is the password for it; relative to the site.", restart=True
    )
    resolver: tuple[str, ...] = setting(
        list_of(NAME_SERVER),
        (),
        'DNS servers, as "192.0.2.1" or "127.0.0.1:5353"; none: those of the machine.',
        restart=True,
    )


@dataclass(frozen=True, slots=True)
class Store:
    """Mail being kept."""

    keep_expunged: float = setting(
        DURATION, 1 * DAY, "Octets of an expunged message stay on disk for so long.", restart=True
    )
    keep_removed: float = setting(DURATION, 30 * DAY, "A removed account can be restored for so long.")
    database: str = setting(
        TEXT,
        "",
        'A PostgreSQL connection string, as "host=db1,db2 dbname=mail passfile=/etc/rookery/pgpass": mail is kept'
        ' there, and several backends serve it; "" keeps it in the folder of the site.',
        restart=True,
    )
    blobs: str = setting(
        TEXT,
        "",
        "Where the bodies of such a store are: the path of a folder that all its machines share, or a bucket, as"
        ' "s3://bucket/folder" (gs: Google Cloud Storage, az: Azure); "" is the database. For one store only, and not'
        " to be changed once there is mail.",
        restart=True,
    )
    blob_options: tuple[tuple[str, str], ...] = setting(
        table_of(TEXT),
        (),
        'What the service of a bucket is told, as { endpoint = "https://s3.example.org", region = "eu" }; without'
        " credentials.",
        restart=True,
    )
    blob_credentials_file: str = setting(
        TEXT,
        "keys/blobs",
        'Credentials for the bucket, in lines as access_key_id = "..."; relative to the site. Without the file they'
        " are taken from the environment, as AWS_ACCESS_KEY_ID.",
        restart=True,
    )
    pool: str = setting(NAME, "main", "The name of the store and of the backends that serve it.", restart=True)
    backends: tuple[tuple[str, ListenAddress], ...] = setting(
        table_of(LISTEN_ADDRESS),
        (),
        "Backend processes under one `serve`: the name of each, and the address that its listeners take in place of"
        " listen.addresses. None: one process, named after site.hostname.",
        restart=True,
    )


@dataclass(frozen=True, slots=True)
class Cluster:
    """This node among others; see docs/frontends.md."""

    allow: tuple[Network, ...] = setting(
        list_of(NETWORK),
        _networks("127.0.0.0/8", "::1/128"),
        "Networks of nodes: nobody else gets as far as TLS at the cluster port.",
        restart=True,
    )
    directory: tuple[Endpoint | None, ...] = setting(
        list_of(endpoint(7143)),
        (),
        "The cluster ports of directory nodes, asked in this order by a node without a directory or with a copy.",
        restart=True,
    )
    authority: tuple[Endpoint | None, ...] = setting(
        list_of(endpoint(7144)),
        (),
        "The join ports of the authority: asked by a node whose certificate has ended while it was away.",
        restart=True,
    )
    upstream: tuple[Endpoint | None, ...] = setting(
        list_of(endpoint(7143)),
        (),
        "For a frontend that reaches nobody but other frontends: the cluster ports of those, in place of"
        " cluster.directory.",
        restart=True,
    )
    inner: bool = setting(
        FLAG,
        False,
        "A frontend that others may have as their cluster.upstream: it takes links at listen.cluster, and passes on"
        " what they ask and bring.",
        restart=True,
    )
    mail: tuple[Endpoint | None, ...] = setting(
        list_of(endpoint(7143)),
        (),
        "For a node that takes mail and has no accounts: the cluster ports of nodes that have, to which it hands the"
        " mail. None: those of cluster.directory.",
        restart=True,
    )
    local: str = setting(TEXT, "", 'The address of this node for links that it dials; "" is any.', restart=True)
    announce: Endpoint | None = setting(
        endpoint(7143),
        None,
        "Where other nodes reach the cluster port of this one, if that is not at its own address: behind NAT, or"
        " something that forwards connections. For one process: not with store.backends.",
        restart=True,
    )
    links: int = setting(count(2, 100_000), 256, "Links to other nodes that are kept.", restart=True)


@dataclass(frozen=True, slots=True)
class Drain:
    """Stopping."""

    time: float = setting(DURATION, 10.0, "After SIGTERM, sessions get this long to end by themselves.")


@dataclass(frozen=True, slots=True)
class Log:
    """One line an event."""

    format: LogFormat = setting(one_of(LogFormat), LogFormat.TEXT, "One text or one JSON object a line.")
    file: str = setting(TEXT, "", 'A file, relative to the site, reopened on SIGHUP; "" is standard error.')
    level: LogLevel = setting(one_of(LogLevel), LogLevel.INFO, "What is worth a line.")
    levels: tuple[tuple[str, LogLevel], ...] = setting(
        table_of(one_of(LogLevel)),
        (),
        'The same for single components, as { smtp = "debug" }; `rookery log level` changes it at run time.',
    )


@dataclass(frozen=True, slots=True)
class Config:
    """The whole of rookery.toml; every part has defaults."""

    site: Site = field(default_factory=Site)
    listen: Listen = field(default_factory=Listen)
    http: Http = field(default_factory=Http)
    tls: Tls = field(default_factory=Tls)
    limits: Limits = field(default_factory=Limits)
    smtp: Smtp = field(default_factory=Smtp)
    lmtp: Lmtp = field(default_factory=Lmtp)
    imap: Imap = field(default_factory=Imap)
    auth: Auth = field(default_factory=Auth)
    directory: Directory = field(default_factory=Directory)
    quota: Quota = field(default_factory=Quota)
    queue: Queue = field(default_factory=Queue)
    store: Store = field(default_factory=Store)
    cluster: Cluster = field(default_factory=Cluster)
    drain: Drain = field(default_factory=Drain)
    log: Log = field(default_factory=Log)


@dataclass(frozen=True, slots=True)
class Setting:
    """One row of the table. `default` is the typed value; `kind.show(default)` is how it is written."""

    section: str
    name: str
    kind: Kind[Any]
    default: object
    text: str
    restart: bool

    @property
    def key(self) -> str:
        return f"{self.section}.{self.name}"

    def of(self, config: Config) -> object:
        return getattr(getattr(config, self.section), self.name)


def section_types() -> dict[str, type]:
    return {part.name: cast(type, part.default_factory) for part in fields(Config)}


def make_config(sections: Mapping[str, Any]) -> Config:
    """A Config of sections by name; each was made by its type in `section_types`."""
    return Config(**sections)


def _table() -> tuple[Setting, ...]:
    rows = []
    for section, kind in section_types().items():
        for part in fields(kind):
            about: _About = part.metadata["about"]
            rows.append(Setting(section, part.name, about.kind, part.default, about.text, about.restart))
    return tuple(rows)


SETTINGS: tuple[Setting, ...] = _table()


def differences(old: Config, new: Config) -> list[Setting]:
    """The settings whose values differ."""
    return [row for row in SETTINGS if row.of(old) != row.of(new)]
