"""What goes wrong in the model, as often as a run allows. All but a crash and a fail-over end by themselves."""

from collections.abc import Iterator
from itertools import combinations

from tests.hosting_model.model import (
    Step,
    beat,
    claimable,
    claimed,
    declared,
    protocol,
    unknown,
)
from tests.hosting_model.state import (
    CLOSED,
    CRASHED,
    FAULTS,
    FROZEN,
    IDLE,
    NONE,
    OPEN,
    READ,
    RUNNING,
    Backend,
    Config,
    Kept,
    Mail,
    Row,
    Rules,
    State,
    Write,
    dropped,
    link_bit,
    locked_by,
    put,
    rowed,
    spent,
    unwatched,
    usable,
)


def free_faults(state: State) -> Iterator[Step]:
    """Faults end without costing anything."""
    for i, b in enumerate(state.backends):
        name = "ABC"[i]
        if b.mode == FROZEN:
            yield f"{name} thaws", put(state, i, b._replace(mode=RUNNING))
        if not b.linked:
            yield f"{name} reaches the database again", put(state, i, b._replace(linked=True))
    for i, j in combinations(range(len(state.backends)), 2):
        if state.cuts & link_bit(i, j):
            yield f"{'ABC'[i]} and {'ABC'[j]} reach each other", state._replace(cuts=state.cuts & ~link_bit(i, j))
    if not state.up:
        yield "the database goes on", state._replace(up=True)
    if state.left[FAULTS.index("failover")] and state.standby != state.kept:
        yield "the standby catches up", state._replace(standby=state.kept)


def faults(rules: Rules, state: State) -> Iterator[Step]:
    row = state.kept.row
    for i, b in enumerate(state.backends):
        name = "ABC"[i]
        if b.mode == RUNNING:
            if after := spent(state, "freeze"):
                yield f"{name} freezes", put(after, i, b._replace(mode=FROZEN, ill=True))
            if b.linked and (after := spent(state, "cut")):
                yield f"{name} is cut off the database", put(after, i, b._replace(linked=False, ill=True))
            if b.client != IDLE and (after := spent(state, "lose")):
                yield f"{name} loses its connection: outcome unknown", unknown(rules, after, i)
            may_claim = b.opening == CLOSED and b.client == IDLE and not locked_by(state)
            if usable(state, i) and may_claim and claimable(rules, state, i) and (after := spent(state, "lose")):
                yield f"{name} claims, and the answer is lost", claimed(rules, after, i, answer=False)
            if usable(state, i) and not b.beaten and not b.ended and (after := spent(state, "delay")):
                yield f"{name} beats, and the answer is late", beat(rules, after, i, delayed=True)
            hosts = b.opening == OPEN and row.epoch == b.epoch and row.active and b.current
            if usable(state, i) and hosts and b.client == IDLE and (after := spent(state, "move")):
                gone = rowed(after, row._replace(active=False, host=-1, ended=False))
                yield f"{name} moves the account to another pool", put(gone, i, dropped(b))
        if b.mode != CRASHED and (after := spent(state, "crash")):
            yield f"{name} crashes", unwatched(put(after, i, crashed(b)), i)
        if not b.ended and b.mode != CRASHED and (after := spent(state, "replace")):
            yield f"{name}'s id is started elsewhere", declared(put(after, i, b._replace(ill=True)), i)
    for i, j in combinations(range(len(state.backends)), 2):
        if not state.cuts & link_bit(i, j) and (after := spent(state, "part")):
            yield f"{'ABC'[i]} and {'ABC'[j]} lose each other", after._replace(cuts=state.cuts | link_bit(i, j))
    if state.up and (after := spent(state, "pause")):
        yield "the database pauses", after._replace(up=False)
        yield "the database starts again", without_sessions(after)._replace(up=False)
    if not row.active and (after := spent(state, "move")):
        yield "the account is moved back, with a message more", remade(rules, after)
    if after := spent(state, "failover"):
        yield "the standby is promoted", failed_over(rules, after)


def crashed(b: Backend) -> Backend:
    return dropped(b)._replace(mode=CRASHED, ill=True, age=READ, flight=-1, beaten=False)


def without_sessions(state: State) -> State:
    """What was not committed is undone; nobody gets an answer."""
    undone = tuple(b._replace(server=NONE, write=b.write if b.client else Write()) for b in state.backends)
    return state._replace(backends=undone)


def failed_over(rules: Rules, state: State) -> State:
    """A new timeline: the last commits are gone, and nobody hosts anything under it."""
    state = without_sessions(state)
    kept = state.standby
    backends = tuple(
        b._replace(current=b.opening == CLOSED, ended=b.ended or rules.beat_compares_timeline) for b in state.backends
    )
    row = kept.row._replace(behind=kept.row.behind + 1, ended=kept.row.host >= 0)
    kept = kept._replace(row=row)
    return state._replace(backends=backends, kept=kept, standby=kept, acked=state.acked & kept.mail.uids)


def remade(rules: Rules, state: State) -> State:
    """Moved away and back: a new row, and what came to the account in the meantime."""
    kept = state.kept
    uid = kept.mail.next
    mail = Mail(kept.mail.uids | 1 << uid, uid + 1)
    sequence = kept.sequence + 1
    row = Row(epoch=sequence if rules.epochs_from_sequence else 0)
    after = state._replace(kept=Kept(row, sequence, mail))
    return after._replace(acked=after.acked | 1 << uid, seen=after.seen | 1 << uid)


def steps(config: Config, state: State) -> Iterator[Step]:
    yield from protocol(config.rules, state)
    yield from free_faults(state)
    yield from faults(config.rules, state)
