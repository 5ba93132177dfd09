"""Identifiers."""

from rookery.base.ids import pooled


def test_pooled_octets_are_each_used_once() -> None:
    source = iter(range(256))
    take = pooled(lambda count: bytes(next(source) for _ in range(count)), size=10)
    taken = b"".join(take(count) for count in (1, 3, 10, 4, 20, 5))
    assert len(taken) == 43
    assert len(set(taken)) == 43
