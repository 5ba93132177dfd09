"""The claim protocol holds what it promises, in every state that backends and faults can bring about; and it holds it
because of its rules: without any one of them the explorer finds the way to a broken promise."""

from itertools import combinations

import pytest

from tests.hosting_model.explorer import explore
from tests.hosting_model.state import FAULTS, FREE, Config, Rules

KINDS = tuple(name for name in FAULTS if name not in FREE)
EACH = dict.fromkeys(FAULTS, 1)


def allowed(*names: str, **numbers: int) -> dict[str, int]:
    return {**dict.fromkeys(names, 1), **numbers}


def holds(config: Config) -> int:
    found = explore(config)
    assert not found.broken, str(found)
    return found.states


@pytest.mark.parametrize(
    "config",
    [
        pytest.param(Config(2, 1, {**EACH, "failover": 0}, opened=True), id="any one fault"),
        pytest.param(Config(2, 1, allowed("failover", "write"), opened=True), id="the last commits are lost"),
        pytest.param(Config(2, 2, allowed("freeze", "lose", "write"), opened=True), id="frozen in a write"),
        pytest.param(Config(2, 2, allowed("cut", "pause", "write"), opened=True), id="without the database"),
        pytest.param(Config(2, 3, allowed("freeze", move=2, write=1), opened=True), id="moved away and back"),
        pytest.param(Config(2, 2, allowed("part", "pause", "write"), opened=True), id="a cut between two, and a pause"),
        pytest.param(Config(2, 2, allowed("replace", "pause", "write"), opened=True), id="replaced, and a pause"),
        pytest.param(Config(3, 0, allowed(write=2, release=1)), id="three, and nothing happens"),
    ],
)
def test_every_promise_holds(config: Config) -> None:
    assert holds(config) > 100


# Where a rule is needed: the promise that falls without it, and what must happen.
NEEDED: dict[str, tuple[set[int], Config]] = {
    "gap_restarts_watches": ({7}, Config(2, 1, allowed("pause"), opened=True)),
    "death_repeats_counter": ({7}, Config(2, 1, allowed("freeze"), opened=True)),
    "death_is_recorded": ({5}, Config(2, 1, allowed("freeze"), opened=True)),
    "refusal_needs_silence": ({7}, Config(2, 1, allowed("part"), opened=True)),
    "probe_needs_silence": ({7}, Config(2, 1, allowed("part"), opened=True)),
    "probe_waits_an_interval_more": ({7}, Config(2, 2, allowed("part", "pause"), opened=True)),
    "state_after_claim": ({4}, Config(2, 0, allowed("write", "release"), opened=True)),
    "never_inherited": ({1, 3, 4}, Config(2, 1, allowed("crash", write=2), opened=True)),
    "own_claim": ({6}, Config(2, 1, allowed("lose"))),
    "fence_compares_epoch": ({1}, Config(2, 1, allowed("freeze", "write"), opened=True)),
    "fence_locks": ({1}, Config(2, 1, allowed("freeze", "write"), opened=True)),
    "fence_compares_timeline": ({1, 3, 4, 6}, Config(2, 1, allowed("failover", write=2), opened=True)),
    "epochs_from_sequence": ({1}, Config(2, 3, allowed("freeze", "write", move=2), opened=True)),
    "claims_only_active": ({8}, Config(2, 1, allowed("move"), opened=True)),
    "unknown_drops": ({3, 4}, Config(2, 1, allowed("lose", write=2), opened=True)),
    "unknown_says_nothing": ({3}, Config(2, 1, allowed("lose", "write"), opened=True)),
    "timeline_jumps_uids": ({3}, Config(2, 1, allowed("failover", write=2), opened=True)),
    "each_timeline_counts": ({3}, Config(2, 2, allowed(failover=2, write=2), opened=True)),
    "beat_compares_timeline": ({5}, Config(2, 1, allowed("failover"), opened=True)),
    "reads_need_beat": ({5}, Config(2, 1, allowed("cut", "write"), opened=True)),
    "reads_end_before_death": ({5}, Config(2, 1, allowed("cut", "write"), opened=True)),
    "beat_counts_from_sending": ({5}, Config(2, 2, allowed("cut", "delay", "write"), opened=True)),
    "offline_reads_ask_all": ({5}, Config(3, 3, allowed("part", "write", cut=2), opened=True)),
    "offline_peers_know_deaths": ({5}, Config(2, 2, allowed("replace", "pause", "write"), opened=True)),
    "terminates_sessions": ({6}, Config(2, 1, allowed("freeze", "write"), opened=True)),
    "release_drops_first": ({4, 5, 6}, Config(2, 0, allowed("release", "write"), opened=True)),
}
LONG = {"offline_reads_ask_all", "each_timeline_counts"}  # three backends, or two fail-overs


def test_no_rule_is_left_untried() -> None:
    assert set(NEEDED) == set(Rules._fields)


@pytest.mark.parametrize(
    "rule", [pytest.param(rule, marks=pytest.mark.soak if rule in LONG else ()) for rule in Rules._fields]
)
def test_without_the_rule_a_promise_is_broken(rule: str) -> None:
    promises, config = NEEDED[rule]
    found = explore(config._replace(rules=Rules(**{rule: False})))
    assert found.broken in promises, str(found)
    assert found.trace


@pytest.mark.soak
@pytest.mark.parametrize("count", [2, 3])
def test_any_one_fault_from_the_first_claim_on(count: int) -> None:
    assert holds(Config(count, 1, EACH)) > 10_000


@pytest.mark.soak
@pytest.mark.parametrize("kinds", [pytest.param(pair, id="+".join(pair)) for pair in combinations(KINDS, 2)])
def test_three_backends_and_two_faults(kinds: tuple[str, str]) -> None:
    assert holds(Config(3, 2, allowed(*kinds, "write"), opened=True)) > 100


@pytest.mark.soak
@pytest.mark.parametrize("kind", KINDS)
def test_two_backends_and_the_same_fault_twice(kind: str) -> None:
    assert holds(Config(2, 2, {kind: 2, "write": 2, "release": 1}, opened=True)) > 100
