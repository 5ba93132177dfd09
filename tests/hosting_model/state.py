"""What the model of the claim protocol is made of: rules that can be switched off, backends, the database.

Time is `tick`, one beat interval of the real world; it cannot pass before every healthy backend has beaten, and nobody
reads it but as the age of its own last beat. A backend whose writer hangs is one that is cut off the database; one
whose event loop hangs is frozen.
"""

from typing import NamedTuple

READ, PROBE, DEAD = 2, 3, 4  # ticks: reads need a younger beat; a silent host is dead if a probe fails too; is dead
GAP = 2  # ticks between own beats that restart the watches
JUMP = 3  # UIDs left out under a new timeline: more than any run here can lose

RUNNING, FROZEN, CRASHED = range(3)
CLOSED, CLAIMED, OPEN = range(3)  # an account at a backend; CLAIMED: state not yet read
IDLE, FENCED, WAITING = range(3)  # a write at the client: none, fence read, COMMIT sent
NONE, LOCKED, SENT, DONE = range(4)  # the same at the server: none, row locked, COMMIT under way, answer under way


class Rules(NamedTuple):
    """Each is a sentence of the design; False removes it."""

    gap_restarts_watches: bool = True
    death_repeats_counter: bool = True
    death_is_recorded: bool = True  # a beat of an incarnation that was found dead is refused
    refusal_needs_silence: bool = True  # a refused connection is a failed probe, no more
    probe_needs_silence: bool = True
    probe_waits_an_interval_more: bool = True  # two may be the order of beats and one short pause
    state_after_claim: bool = True
    never_inherited: bool = True
    own_claim: bool = True  # a host may claim again what the row says is its own
    fence_compares_epoch: bool = True
    fence_locks: bool = True
    fence_compares_timeline: bool = True
    epochs_from_sequence: bool = True
    claims_only_active: bool = True
    unknown_drops: bool = True
    unknown_says_nothing: bool = True
    timeline_jumps_uids: bool = True
    each_timeline_counts: bool = True  # a fail-over may lose the jump of the one before
    beat_compares_timeline: bool = True  # an incarnation is of one timeline; under another its beats are refused
    reads_need_beat: bool = True
    reads_end_before_death: bool = True  # READ < DEAD
    beat_counts_from_sending: bool = True
    offline_reads_ask_all: bool = True
    offline_peers_know_deaths: bool = True
    terminates_sessions: bool = True
    release_drops_first: bool = True


def read_limit(rules: Rules) -> int:
    return READ if rules.reads_end_before_death else DEAD + 2


def oldest(rules: Rules) -> int:
    """Ages above it are all alike."""
    return read_limit(rules) if rules.gap_restarts_watches else DEAD


class Mail(NamedTuple):
    """uids: bit set. next: UIDNEXT."""

    uids: int = 0
    next: int = 0


class Write(NamedTuple):
    """A transaction: the epoch its fence saw, the UID it gives."""

    epoch: int = 0
    uid: int = 0


class Backend(NamedTuple):
    mode: int = RUNNING
    linked: bool = True  # reaches the database
    ended: bool = False  # in the database: this incarnation is over
    beaten: bool = False  # in this tick
    age: int = 0  # of the last confirmed beat, since it was sent, up to READ
    flight: int = -1  # age of a beat that was executed and whose answer is under way
    since: int = 0  # nobody knows: age of the last executed beat, up to READ
    ill: bool = False  # nobody knows: the backend itself missed something since its last executed beat
    opening: int = CLOSED
    epoch: int = 0
    current: bool = True  # claimed under this timeline
    mail: Mail = Mail()
    client: int = IDLE
    server: int = NONE
    write: Write = Write()


class Row(NamedTuple):
    """The account in the database."""

    active: bool = True
    host: int = -1
    ended: bool = False  # the host's incarnation is over
    epoch: int = 0
    behind: int = 0  # fail-overs since it was claimed last

    @property
    def current(self) -> bool:
        return not self.behind


class Kept(NamedTuple):
    """What a fail-over may bring back."""

    row: Row = Row()
    sequence: int = 0
    mail: Mail = Mail()


class State(NamedTuple):
    backends: tuple[Backend, ...]
    watch: tuple[tuple[int, ...], ...]  # [i][j]: ticks that i saw j's counter stand still; MOVED more when it has risen
    kept: Kept = Kept()
    standby: Kept = Kept()
    up: bool = True
    cuts: int = 0  # pairs of backends that do not reach each other, bits
    acked: int = 0  # UIDs whose write was acknowledged and not lost with a fail-over
    seen: int = 0  # UIDs that clients know
    denied: int = 0  # UIDs whose write was said to have failed
    left: tuple[int, ...] = ()  # how often each of FAULTS may still happen
    faults: int = 0  # and all together


MOVED = 8
FAULTS = ("freeze", "crash", "cut", "part", "pause", "lose", "delay", "failover", "move", "replace", "write", "release")
FREE = ("write", "release")  # not faults, but counted


class Broken(Exception):
    """A promise was broken. args: number of the promise, what happened."""


class Config(NamedTuple):
    """faults: most faults of a run; allowed: most of each kind."""

    backends: int
    faults: int
    allowed: dict[str, int]
    rules: Rules = Rules()
    opened: bool = False  # A hosts the account at the beginning


def put(state: State, i: int, backend: Backend) -> State:
    return state._replace(backends=(*state.backends[:i], backend, *state.backends[i + 1 :]))


def rowed(state: State, row: Row) -> State:
    return state._replace(kept=state.kept._replace(row=row))


def spent(state: State, name: str) -> State | None:
    """The state after one more of these; None: there may be no more."""
    k = FAULTS.index(name)
    cost = 0 if name in FREE else 1
    if not state.left[k] or state.faults < cost:
        return None
    return state._replace(left=(*state.left[:k], state.left[k] - 1, *state.left[k + 1 :]), faults=state.faults - cost)


def dropped(b: Backend) -> Backend:
    """Without the account in memory; a transaction goes on at the server alone."""
    server = NONE if b.server == DONE else b.server
    write = Write() if server == NONE else b.write
    return b._replace(opening=CLOSED, epoch=0, current=True, mail=Mail(), client=IDLE, server=server, write=write)


def link_bit(i: int, j: int) -> int:
    return 1 << (min(i, j) * 3 + max(i, j))


def usable(state: State, i: int) -> bool:
    """Backend i can send a statement and get its answer."""
    b = state.backends[i]
    return b.mode == RUNNING and b.linked and state.up and b.flight < 0


def locked_by(state: State) -> list[int]:
    return [k for k, b in enumerate(state.backends) if b.server in (LOCKED, SENT)]


def unwatched(state: State, i: int) -> State:
    """Backend i's watches begin anew with its next beat."""
    line = tuple(MOVED for _ in state.backends)
    return state._replace(watch=(*state.watch[:i], line, *state.watch[i + 1 :]))
