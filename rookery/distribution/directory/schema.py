"""Tables of the directory. Common SQL of SQLite and PostgreSQL.

A name is (domain number, local part), so that renaming a domain changes one row. Names of accounts, aliases and groups
are unique together by the primary key of `name`. `domain_name` has every name of every domain, aliases too.
A target's `local` is canonical, for lookups; `given` is its local part in the case it was given in.
"""

TABLES = (
    "CREATE TABLE site (key TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT",
    "CREATE TABLE counter (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT",
    """CREATE TABLE change (
        number INTEGER PRIMARY KEY,
        kind INTEGER NOT NULL,
        object TEXT NOT NULL,
        verb INTEGER NOT NULL,
        at INTEGER NOT NULL
    ) STRICT""",
    """CREATE TABLE domain (
        domain INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        created INTEGER NOT NULL
    ) STRICT""",
    "CREATE TABLE domain_name (name TEXT PRIMARY KEY, domain INTEGER NOT NULL) STRICT",
    "CREATE INDEX domain_name_domain ON domain_name (domain)",
    """CREATE TABLE name (
        domain INTEGER NOT NULL,
        local TEXT NOT NULL,
        kind INTEGER NOT NULL,
        object BLOB NOT NULL,
        PRIMARY KEY (domain, local)
    ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE account (
        account BLOB PRIMARY KEY,
        domain INTEGER NOT NULL,
        local TEXT NOT NULL,
        state INTEGER NOT NULL,
        removed_until INTEGER NOT NULL,
        name TEXT NOT NULL,
        size_limit INTEGER NOT NULL,
        message_limit INTEGER NOT NULL,
        admin INTEGER NOT NULL,
        created INTEGER NOT NULL,
        version INTEGER NOT NULL,
        scram_salt BLOB NOT NULL,
        scram_iterations INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID""",
    "CREATE UNIQUE INDEX account_address ON account (domain, local)",
    "CREATE INDEX account_oldest ON account (domain, state, created)",
    "CREATE INDEX account_admin ON account (created) WHERE admin = 1",
    "CREATE INDEX account_removed ON account (removed_until) WHERE state = 3",
    """CREATE TABLE credential (
        credential BLOB PRIMARY KEY,
        account BLOB NOT NULL,
        kind INTEGER NOT NULL,
        parent BLOB NOT NULL,
        label TEXT NOT NULL,
        data TEXT NOT NULL,
        created INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID""",
    "CREATE INDEX credential_account ON credential (account)",
    """CREATE TABLE login (
        account BLOB PRIMARY KEY,
        at INTEGER NOT NULL,
        protocol TEXT NOT NULL,
        address TEXT NOT NULL
    ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE expansion (
        expansion BLOB PRIMARY KEY,
        kind INTEGER NOT NULL,
        domain INTEGER NOT NULL,
        local TEXT NOT NULL,
        name TEXT NOT NULL,
        created INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID""",
    "CREATE UNIQUE INDEX expansion_address ON expansion (kind, domain, local)",
    """CREATE TABLE target (
        expansion BLOB NOT NULL,
        position INTEGER NOT NULL,
        local TEXT NOT NULL,
        domain TEXT NOT NULL,
        given TEXT NOT NULL,
        PRIMARY KEY (expansion, position)
    ) STRICT, WITHOUT ROWID""",
    "CREATE INDEX target_address ON target (domain, local)",
    "INSERT INTO counter (name, value) VALUES ('changes', 0)",
)

# An account without a row in account_pool is in the first pool: the one with the lowest number. A former release makes
# accounts there, and leaves the row of an account that it purges, whose id is never used again.
POOLS = (
    """CREATE TABLE pool (
        pool INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        kind INTEGER NOT NULL,
        store TEXT NOT NULL,
        address TEXT NOT NULL,
        lmtp TEXT NOT NULL,
        open INTEGER NOT NULL,
        free INTEGER,
        created INTEGER NOT NULL
    ) STRICT""",
    """CREATE TABLE pool_backend (
        pool INTEGER NOT NULL,
        backend TEXT NOT NULL,
        address TEXT NOT NULL,
        lmtp TEXT NOT NULL,
        PRIMARY KEY (pool, backend)
    ) STRICT, WITHOUT ROWID""",
    "CREATE TABLE account_pool (account BLOB PRIMARY KEY, pool INTEGER NOT NULL) STRICT, WITHOUT ROWID",
    "CREATE INDEX account_pool_pool ON account_pool (pool)",
    "ALTER TABLE domain ADD COLUMN pool INTEGER NOT NULL DEFAULT 0",
    "INSERT INTO counter (name, value) VALUES ('pool-turn', 0)",
)

# Of the pool's store; see storage/promotion.py.
GENERATIONS = ("ALTER TABLE pool ADD COLUMN generation INTEGER NOT NULL DEFAULT 1",)

# Who belongs to the cluster. Every certificate has its row before it exists; one without a row was given after the copy
# was made from which this directory was restored. Roles are words with spaces between. The cluster's id is in `site`.
MEMBERS = (
    """CREATE TABLE authority (
        number INTEGER PRIMARY KEY,
        authority BLOB NOT NULL UNIQUE,
        certificate BLOB NOT NULL,
        cross_certificate BLOB NOT NULL,
        created INTEGER NOT NULL
    ) STRICT""",
    """CREATE TABLE member (
        name TEXT PRIMARY KEY,
        roles TEXT NOT NULL,
        joined INTEGER NOT NULL,
        revoked INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE join_token (
        name TEXT PRIMARY KEY,
        token BLOB NOT NULL UNIQUE,
        hash BLOB NOT NULL,
        roles TEXT NOT NULL,
        created INTEGER NOT NULL,
        expires INTEGER NOT NULL,
        used_by BLOB NOT NULL
    ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE certificate (
        serial BLOB PRIMARY KEY,
        name TEXT NOT NULL,
        authority BLOB NOT NULL,
        key_id BLOB NOT NULL,
        ends INTEGER NOT NULL,
        revoked INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID""",
    "CREATE INDEX certificate_name ON certificate (name)",
    "CREATE INDEX certificate_ends ON certificate (ends)",
    "CREATE INDEX certificate_revoked ON certificate (serial) WHERE revoked > 0",
)

# Where the processes of members are reached by other nodes; a backend of the former release tells no cluster port.
ADDRESSES = (
    "ALTER TABLE pool_backend ADD COLUMN cluster TEXT NOT NULL DEFAULT ''",
    """CREATE TABLE presence (
        name TEXT NOT NULL,
        backend TEXT NOT NULL,
        address TEXT NOT NULL,
        release TEXT NOT NULL,
        PRIMARY KEY (name, backend)
    ) STRICT, WITHOUT ROWID""",
)

# Whether all accounts of the domain are in its pool. A former release adds accounts of it elsewhere if told so.
LOCAL_DOMAINS = ("ALTER TABLE domain ADD COLUMN local INTEGER NOT NULL DEFAULT 0",)
