"""The claim protocol as a state machine: what several backends and one database do to one account.

Everything the protocol promises is an assertion (`Broken`) here, and every rule it needs can be switched off (`Rules`),
so that explorer.py can show both that the promises hold and that each rule is needed for them.

Left out on purpose: a second account (rules bind accounts only through their host's death and the timeline, which are
here), the directory, and what a write does beyond taking a UID.
"""

from collections.abc import Iterator

from tests.hosting_model.state import (
    CLAIMED,
    CLOSED,
    CRASHED,
    DEAD,
    DONE,
    FAULTS,
    FENCED,
    FROZEN,
    GAP,
    IDLE,
    JUMP,
    LOCKED,
    MOVED,
    NONE,
    OPEN,
    PROBE,
    READ,
    RUNNING,
    SENT,
    WAITING,
    Backend,
    Broken,
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
    oldest,
    put,
    read_limit,
    rowed,
    spent,
    unwatched,
    usable,
)


def start(config: Config) -> State:
    count = config.backends
    watch = tuple(tuple(0 for _ in range(count)) for _ in range(count))
    left = tuple(config.allowed.get(name, 0) for name in FAULTS)
    state = State(tuple(Backend() for _ in range(count)), watch, left=left, faults=config.faults)
    return loaded(claimed(config.rules, state, 0), 0) if config.opened else state


# --- heartbeat -------------------------------------------------------------------------------------------------------


def renewed(state: State, i: int) -> State:
    """Backend i registers a new incarnation: nothing that the former one hosted is its own."""
    b = dropped(state.backends[i])._replace(
        mode=RUNNING, ended=False, beaten=True, age=0, flight=-1, since=0, ill=False
    )
    row = state.kept.row
    if row.host == i:
        state = rowed(state, row._replace(ended=True))
    return moved(unwatched(put(state, i, b), i), i)


def moved(state: State, i: int) -> State:
    """The counter of i rises: all others' watches will see it."""
    watch = tuple(
        tuple(v | MOVED if k == i and w != i else v for k, v in enumerate(line)) for w, line in enumerate(state.watch)
    )
    return state._replace(watch=watch)


def beat(rules: Rules, state: State, i: int, *, delayed: bool = False) -> State:
    """One statement: raise the own counter unless this incarnation has ended; read all others and the timeline."""
    b = state.backends[i]
    if b.ended:
        return renewed(state, i)
    gap = rules.gap_restarts_watches and b.age >= GAP
    line = tuple(0 if v >= MOVED or gap else min(DEAD, v + b.age) for v in state.watch[i])
    state = moved(state._replace(watch=(*state.watch[:i], line, *state.watch[i + 1 :])), i)
    b = b._replace(beaten=True, since=0, ill=False)
    if delayed:
        return put(state, i, b._replace(flight=0, ill=True))
    return put(state, i, confirmed(rules, state, b, 0))


def confirmed(rules: Rules, state: State, b: Backend, age: int) -> Backend:
    if b.opening == OPEN and b.flight < 0 and not (b.current and b.epoch == state.kept.row.epoch):
        raise Broken(5, "a beat is confirmed although it has lost the account: stale reads for ever")
    return b._replace(age=age, flight=-1)


def answered(rules: Rules, state: State, i: int) -> State:
    """The late answer to a beat."""
    b = state.backends[i]
    return put(state, i, confirmed(rules, state, b, b.flight if rules.beat_counts_from_sending else 0))


def probe_fails(state: State, i: int, j: int) -> bool:
    return state.backends[j].mode != RUNNING or bool(state.cuts & link_bit(i, j))


def silent(rules: Rules, state: State, i: int, j: int) -> bool:
    """Backend i may take j for dead."""
    still = state.watch[i][j]
    if still >= MOVED:
        if rules.death_repeats_counter:
            return False
        still -= MOVED
    if still >= DEAD:
        return True
    if not probe_fails(state, i, j):
        return False
    least = PROBE if rules.probe_waits_an_interval_more else PROBE - 1
    if not rules.probe_needs_silence:
        least = 0
    if state.backends[j].mode != FROZEN and not rules.refusal_needs_silence:
        least = 0
    return still >= least


def declared(state: State, j: int) -> State:
    """The incarnation of j ends, by a statement that names the counter it was seen with."""
    b = state.backends[j]
    if not b.ill:
        raise Broken(7, f"{'ABC'[j]} is found dead, and is well")
    state = put(state, j, b._replace(ended=True))
    row = state.kept.row
    return rowed(state, row._replace(ended=True)) if row.host == j else state


# --- the account -----------------------------------------------------------------------------------------------------


def claimable(rules: Rules, state: State, i: int) -> bool:
    row = state.kept.row
    if not row.active and rules.claims_only_active:
        return False
    if row.host < 0 or row.ended or not row.current:
        return True
    if row.host == i:
        return rules.own_claim
    return not rules.death_is_recorded and silent(rules, state, i, row.host)


def claimed(rules: Rules, state: State, i: int, *, answer: bool = True) -> State:
    """The claim commits. The jump is part of it, so that no crash comes between."""
    kept = state.kept
    row, mail = kept.row, kept.mail
    if not row.active:
        raise Broken(8, "a tombstone was claimed")
    if row.host >= 0 and row.host != i and not (row.ended or not row.current) and not state.backends[row.host].ill:
        raise Broken(7, f"{'ABC'[i]} claims from {'ABC'[row.host]}, which is well")
    sequence = kept.sequence + 1
    epoch = sequence if rules.epochs_from_sequence else row.epoch + 1
    if not row.current and rules.timeline_jumps_uids:
        mail = mail._replace(next=mail.next + JUMP * (row.behind if rules.each_timeline_counts else 1))
    b = state.backends[i]
    state = state._replace(kept=Kept(Row(True, i, b.ended, epoch), sequence, mail))
    if not answer:
        return state
    if rules.state_after_claim:
        return put(state, i, b._replace(opening=CLAIMED, epoch=epoch, current=True))
    return put(state, i, b._replace(opening=OPEN, epoch=epoch, current=True))  # as it was read before


def loaded(state: State, i: int) -> State:
    mail = state.kept.mail
    b = state.backends[i]._replace(opening=OPEN, mail=mail)
    return put(state._replace(seen=state.seen | mail.uids), i, b)


def begun(rules: Rules, state: State, i: int) -> State:
    """BEGIN and the fence: the row FOR SHARE, its epoch, the timeline. A loser drops the account."""
    b, row = state.backends[i], state.kept.row
    fits = row.epoch == b.epoch or not rules.fence_compares_epoch
    if not (row.active and fits and (b.current or not rules.fence_compares_timeline)):
        return put(state, i, dropped(b))
    write = Write(b.epoch, b.mail.next)
    return put(state, i, b._replace(client=FENCED, server=LOCKED, write=write))


def committed(state: State, i: int) -> State:
    """The server executes the COMMIT, whoever still listens."""
    b, kept = state.backends[i], state.kept
    bit = 1 << b.write.uid
    row = kept.row
    if b.write.epoch != row.epoch or row.host != i or not row.active:
        raise Broken(1, f"a COMMIT of {'ABC'[i]}, which is not the host, is executed")
    if bit & (kept.mail.uids | state.seen) or b.write.uid < kept.mail.next:
        raise Broken(3, f"UID {b.write.uid + 1} was given twice, or below UIDNEXT")
    if bit & state.denied:
        raise Broken(3, "a write that was said to have failed is there")
    mail = Mail(kept.mail.uids | bit, b.write.uid + 1)
    listens = b.client == WAITING
    b = b._replace(server=DONE if listens else NONE, write=b.write if listens else Write())
    return put(state._replace(kept=kept._replace(mail=mail)), i, b)


def acknowledged(state: State, i: int) -> State:
    b = state.backends[i]
    bit = 1 << b.write.uid
    mail = Mail(b.mail.uids | bit, b.write.uid + 1) if b.opening == OPEN else b.mail
    state = state._replace(acked=state.acked | bit, seen=state.seen | bit)
    return put(state, i, b._replace(mail=mail, client=IDLE, server=NONE, write=Write()))


def unknown(rules: Rules, state: State, i: int) -> State:
    """The client loses its connection in a transaction. The server may not notice, and may still execute a COMMIT."""
    b = state.backends[i]
    if b.client == WAITING and not rules.unknown_says_nothing:
        if b.server == DONE:
            raise Broken(3, "a write that was said to have failed is there")
        state = state._replace(denied=state.denied | 1 << b.write.uid)
    lost = dropped(b)
    if not rules.unknown_drops:
        lost = lost._replace(opening=b.opening, epoch=b.epoch, current=b.current, mail=b.mail)
    return put(state, i, lost)


# --- what everybody may do -------------------------------------------------------------------------------------------

Step = tuple[str, State]


def protocol(rules: Rules, state: State) -> Iterator[Step]:
    """Steps that are nobody's fault."""
    for i, b in enumerate(state.backends):
        name = "ABC"[i]
        if b.server == SENT and state.up:
            yield f"server: {name}'s COMMIT is executed", committed(state, i)
        if b.server == LOCKED and b.client == IDLE:
            yield f"server: {name}'s orphaned transaction ends", put(state, i, b._replace(server=NONE, write=Write()))
        if b.mode == CRASHED and state.up and b.linked:
            yield f"{name} starts again, a new incarnation", renewed(state, i)
        if b.mode == RUNNING:
            yield from _late(rules, state, i)
        if usable(state, i):
            yield from _heart(rules, state, i)
            if b.opening == CLOSED and b.client == IDLE:
                yield from _opening(rules, state, i)
            elif b.opening == CLAIMED:
                yield f"{name} reads the state", loaded(state, i)
            yield from _writing(rules, state, i)
    if all(b.beaten or not usable(state, i) for i, b in enumerate(state.backends)):
        yield "tick", ticked(rules, state)


def _late(rules: Rules, state: State, i: int) -> Iterator[Step]:
    """Answers that come late, or not at all."""
    b, name = state.backends[i], "ABC"[i]
    if b.client != IDLE and (not b.linked or not state.up or b.server == NONE):
        yield f"{name} loses its connection: outcome unknown", unknown(rules, state, i)
    if b.flight >= 0 and b.linked and state.up:
        yield f"{name}'s beat is answered", answered(rules, state, i)
    if b.flight >= 0:
        yield f"{name}'s beat gets no answer", unwatched(put(state, i, b._replace(flight=-1, beaten=True)), i)


def _heart(rules: Rules, state: State, i: int) -> Iterator[Step]:
    b, name = state.backends[i], "ABC"[i]
    if not b.beaten:
        yield f"{name} beats" + (": ended, a new incarnation" if b.ended else ""), beat(rules, state, i)
    for j, other in enumerate(state.backends):
        if j != i and rules.death_is_recorded and not other.ended and silent(rules, state, i, j):
            yield f"{name} records the death of {'ABC'[j]}", declared(state, j)


def _opening(rules: Rules, state: State, i: int) -> Iterator[Step]:
    b, name, row = state.backends[i], "ABC"[i], state.kept.row
    if claimable(rules, state, i):
        locks = locked_by(state)
        if not locks or not rules.fence_locks:
            yield f"{name} claims", claimed(rules, state, i)
        elif rules.terminates_sessions and row.host in locks:
            alone = state.backends[row.host]._replace(server=NONE, write=Write())
            yield f"{name} ends {'ABC'[row.host]}'s sessions at the server", put(state, row.host, alone)
    if not rules.never_inherited and row.active and row.host == i and row.ended and row.current:
        heir = put(rowed(state, row._replace(ended=False)), i, b._replace(epoch=row.epoch))
        yield f"{name} goes on with the epoch of its former incarnation", loaded(heir, i)
    if not rules.state_after_claim and b.mail != state.kept.mail:
        yield f"{name} reads the state, to claim later", put(state, i, b._replace(mail=state.kept.mail))


def _writing(rules: Rules, state: State, i: int) -> Iterator[Step]:
    b, name, row = state.backends[i], "ABC"[i], state.kept.row
    if b.client == FENCED:
        server = SENT if b.server == LOCKED else b.server
        yield f"{name} sends COMMIT", put(state, i, b._replace(client=WAITING, server=server))
    if b.client == WAITING and b.server == DONE:
        yield f"{name} acknowledges UID {b.write.uid + 1}", acknowledged(state, i)
    if b.opening != OPEN or b.client != IDLE or b.server != NONE:
        return
    if after := spent(state, "write"):
        yield f"{name} begins a write", begun(rules, after, i)
    if after := spent(state, "release"):
        if row.epoch == b.epoch and row.active and b.current:
            after = rowed(after, row._replace(host=-1, ended=False))
        yield f"{name} releases", put(after, i, dropped(b) if rules.release_drops_first else b)


def may_read_offline(rules: Rules, state: State, i: int) -> bool:
    """The database is away from everybody who could claim: before each reply every other backend says so, and that it
    knows of no end of this incarnation. (Who claimed an account because its host had ended knows.)"""
    b = state.backends[i]
    if b.mode != RUNNING or (b.linked and state.up):
        return False
    answering = 0
    for j, other in enumerate(state.backends):
        if j == i:
            continue
        if other.mode != RUNNING or state.cuts & link_bit(i, j):
            if rules.offline_reads_ask_all:
                return False
            continue
        answering += 1
        if other.linked and state.up:
            return False
    if b.ended and rules.offline_peers_know_deaths and answering == len(state.backends) - 1:
        return False  # one of them found this one dead, or claimed from it; a part of them need not know
    return answering > 0


def ticked(rules: Rules, state: State) -> State:
    backends = []
    for b in state.backends:
        age = min(oldest(rules), b.age + 1)
        backends.append(
            b._replace(
                beaten=False,
                age=age,
                since=min(READ, b.since + 1),
                ill=b.ill or b.mode != RUNNING or not b.linked or b.flight >= 0,
                flight=min(oldest(rules), b.flight + 1) if b.flight >= 0 else -1,
            )
        )
    return state._replace(backends=tuple(backends))


# --- promises --------------------------------------------------------------------------------------------------------


def check(rules: Rules, state: State) -> None:
    """What holds in every state. Raises Broken."""
    row, mail = state.kept.row, state.kept.mail
    if state.acked & ~mail.uids:
        raise Broken(2, "an acknowledged write is gone")
    for i, b in enumerate(state.backends):
        if b.opening != OPEN:
            continue
        name = "ABC"[i]
        if b.epoch == row.epoch and b.current and row.host == i and row.active:
            own = 1 << b.write.uid if b.client == WAITING and b.server in (DONE, NONE) else 0
            if (b.mail.uids ^ mail.uids) & ~own:
                raise Broken(4, f"host {name}'s memory is not what the database has")
        fresh = b.age < read_limit(rules) or not rules.reads_need_beat
        reads = b.mode == RUNNING and (fresh or may_read_offline(rules, state, i))
        admitted = b.since < READ and (b.ended or not b.current)
        if reads and state.acked & ~b.mail.uids and not admitted:
            raise Broken(5, f"{name} answers a stale read")
