"""Each fuzz target for a moment: its seeds, any octets, and mutations of the seeds that are always the same."""

import random
import subprocess
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fuzz.run import mutate
from fuzz.target import Target
from fuzz.targets import TARGETS

MUTATIONS = 300


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_seeds_and_their_mutations(target: Target) -> None:
    choose = random.Random(target.name)
    for seed in (b"", *target.seeds):
        target.check(seed)
        for _ in range(MUTATIONS // (len(target.seeds) + 1)):
            target.check(mutate(seed, target.words, choose))


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_anything(target: Target) -> None:
    pieces = st.sampled_from((*target.words, *target.seeds)) if target.words or target.seeds else st.just(b"")

    @settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(st.binary(max_size=200) | st.lists(pieces | st.binary(max_size=8), max_size=8).map(b"".join))
    def check(data: bytes) -> None:
        target.check(data)

    check()


def test_the_command_names_its_targets() -> None:
    listed = subprocess.run(
        [sys.executable, "-m", "fuzz.run", "--list"], capture_output=True, text=True, check=True, timeout=60
    )
    assert listed.stdout.split() == list(TARGETS)
