"""Accounts are spread evenly over backends, and stay where they are when others come and go."""

import hashlib
from collections import Counter

from rookery.distribution.placement.rendezvous import ranked

ACCOUNTS = [hashlib.sha256(b"%d" % number).digest()[:16] for number in range(10_000)]
BACKENDS = ["b1", "b2", "b3", "b4", "b5"]


def _first(account: bytes, backends: list[str]) -> str:
    return ranked(account, backends, str)[0]


def test_each_backend_has_its_share() -> None:
    shares = Counter(_first(account, BACKENDS) for account in ACCOUNTS)
    assert all(1_900 < shares[backend] < 2_100 for backend in BACKENDS), shares


def test_what_one_leaves_is_spread_over_the_others_and_nothing_else_moves() -> None:
    left = [name for name in BACKENDS if name != "b3"]
    moved: Counter[str] = Counter()
    for account in ACCOUNTS:
        before, after = _first(account, BACKENDS), _first(account, left)
        if before == "b3":
            moved[after] += 1
            assert after == ranked(account, BACKENDS, str)[1]
        else:
            assert before == after
    assert all(400 < moved[backend] < 600 for backend in left), moved


def test_the_order_is_the_same_whoever_names_them_in_whatever_order() -> None:
    assert all(ranked(one, BACKENDS, str) == ranked(one, BACKENDS[::-1], str) for one in ACCOUNTS[:100])
