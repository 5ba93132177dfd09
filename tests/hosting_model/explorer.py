"""Breadth first through every state that model.py can reach, with the shortest way to the first broken promise."""

from itertools import combinations
from typing import NamedTuple

from tests.hosting_model.faults import (
    steps,
)
from tests.hosting_model.model import (
    check,
    protocol,
    start,
)
from tests.hosting_model.state import (
    MOVED,
    OPEN,
    RUNNING,
    Broken,
    Config,
    Kept,
    State,
    link_bit,
)


class Found(NamedTuple):
    """states: how many are different. broken: number of the promise, 0 if all hold. trace: the shortest way to it."""

    states: int
    broken: int = 0
    what: str = ""
    trace: tuple[str, ...] = ()

    def __str__(self) -> str:
        lines = [f"{k:3} {label}" for k, label in enumerate(self.trace, 1)]
        return "\n".join([f"promise {self.broken}: {self.what}; after {self.states} states", *lines])


def canonical(config: Config, state: State) -> State:
    """One state for all that differ in nothing that matters: which numbers the epochs are, what a watch no longer says,
    which backend has which name."""
    state = renumbered(state)
    precise = not config.rules.death_repeats_counter
    over = [b.ended for b in state.backends]
    watch = tuple(
        tuple(MOVED if i == j or over[j] or (v >= MOVED and not precise) else v for j, v in enumerate(line))
        for i, line in enumerate(state.watch)
    )
    state = state._replace(watch=watch)
    return renamed(state) if config.backends > 2 else state


def renumbered(state: State) -> State:
    """Epochs are compared for equality, and rise: their ranks say as much as they do."""
    kept, standby = state.kept, state.standby
    used = {0, kept.sequence, kept.row.epoch, standby.sequence, standby.row.epoch}
    for b in state.backends:
        used.add(b.epoch)
        used.add(b.write.epoch)
    if max(used) < len(used):
        return state
    rank = {epoch: k for k, epoch in enumerate(sorted(used))}

    def ranked(kept: Kept) -> Kept:
        return kept._replace(row=kept.row._replace(epoch=rank[kept.row.epoch]), sequence=rank[kept.sequence])

    backends = tuple(
        b._replace(epoch=rank[b.epoch], write=b.write._replace(epoch=rank[b.write.epoch])) for b in state.backends
    )
    return state._replace(kept=ranked(kept), standby=ranked(standby), backends=backends)


def renamed(state: State) -> State:
    """The backends in order of what they are in. Equal ones keep theirs, so a few states stay double."""
    host, kept_host = state.kept.row.host, state.standby.row.host
    count = range(len(state.backends))
    order = sorted(count, key=lambda i: (i != host, i != kept_host, state.backends[i], sorted(state.watch[i])))
    if order == list(count):
        return state
    place = {i: k for k, i in enumerate(order)}
    place[-1] = -1
    cuts = 0
    if state.cuts:
        for i, j in combinations(count, 2):
            if state.cuts & link_bit(i, j):
                cuts |= link_bit(place[i], place[j])
    kept, standby = state.kept, state.standby
    return state._replace(
        backends=tuple(state.backends[i] for i in order),
        watch=tuple(tuple(state.watch[i][j] for j in order) for i in order),
        kept=kept._replace(row=kept.row._replace(host=place[host])),
        standby=standby._replace(row=standby.row._replace(host=place[kept_host])),
        cuts=cuts,
    )


def explore(config: Config, *, most: int = 10_000_000) -> Found:
    """Every state within the faults of `config`, or the first broken promise. Keeps hashes, not states.

    Raises OverflowError when there are more than `most` states."""
    first = start(config)
    parents: dict[int, int] = {hash(first): 0}
    good: set[int] = set()
    layer = [first]
    while layer:
        following: list[State] = []
        for state in layer:
            here = hash(state)
            try:
                opens(config, state, good)
                for _, after in steps(config, state):
                    after = canonical(config, after)
                    key = hash(after)
                    if key in parents:
                        continue
                    parents[key] = here
                    check(config.rules, after)
                    following.append(after)
            except Broken as broken:
                return Found(len(parents), broken.args[0], broken.args[1], trace(config, parents, here, broken))
            if len(parents) > most:
                raise OverflowError(f"more than {most} states")
        layer = following
    return Found(len(parents))


def trace(config: Config, parents: dict[int, int], last: int, broken: Broken) -> tuple[str, ...]:
    """The steps to the state of hash `last`, and the one that breaks the promise."""
    way = [last]
    while parents[way[-1]]:
        way.append(parents[way[-1]])
    state, told = start(config), []
    for key in reversed(way[:-1]):
        label, state = next((n, a) for n, s in steps(config, state) if hash(a := canonical(config, s)) == key)
        told.append(label)
    label = ""
    try:
        for label, after in steps(config, state):
            check(config.rules, canonical(config, after))
            label = ""
    except Broken as again:
        if label and again.args == broken.args:
            told.append(label)
    return (*told, str(broken.args[1]))


# --- the account can always be opened --------------------------------------------------------------------------------


def opens(config: Config, state: State, good: set[int]) -> None:
    """From `state` on, without a further fault, the account comes to be open at a backend that lives.

    `good`: states from which it is known to. Raises Broken (6) if it cannot."""
    if not state.up or not state.kept.row.active:
        return
    path = []
    for _ in range(60):
        key = hash(state)
        if key in good:
            break
        path.append(key)
        healthy = [i for i, b in enumerate(state.backends) if b.mode == RUNNING and b.linked]
        if not healthy:
            return
        row = state.kept.row
        helper = row.host if row.host in healthy else healthy[0]
        b = state.backends[helper]
        if b.opening == OPEN and b.epoch == row.epoch and b.current and row.host == helper and not b.ended:
            break
        try:
            after = towards(config, state, helper, healthy)
        except Broken:  # another promise, on a way that is explored for itself
            return
        if after is None:
            raise Broken(6, f"nothing that {'ABC'[helper]} may do opens the account")
        state = canonical(config, after)
    else:
        raise Broken(6, "the account does not come to be open")
    good.update(path)


def towards(config: Config, state: State, helper: int, healthy: list[int]) -> State | None:
    """What a backend does next to open the account: finish, claim, read; else beat and wait."""
    mine = f"{'ABC'[helper]} "
    offered = list(protocol(config.rules, state))
    wishes = [
        f"{'ABC'[helper]}'s beat is answered",
        f"{mine}acknowledges",
        f"{mine}loses",
        f"server: {'ABC'[helper]}'s COMMIT",
        f"{mine}sends",
        f"{mine}beats",
        f"{mine}reads",
        f"{mine}claims",
        f"{mine}ends",
        f"{mine}records",
        *(f"{'ABC'[i]} beats" for i in healthy),
        *(f"{'ABC'[i]}'s beat is answered" for i in healthy),
        "tick",
    ]
    for wish in wishes:
        for label, after in offered:
            if label.startswith(wish):
                return after
    return None
