"""Accounts without sessions go back to the pool after a while."""

from rookery.base.clock import ManualClock
from rookery.base.ids import AccountId, new_account_id
from rookery.management.release import UNUSED, Releases


class Placed:
    def __init__(self, *accounts: AccountId) -> None:
        self.accounts = dict.fromkeys(accounts, 1)

    def hosted(self) -> dict[AccountId, int]:
        return dict(self.accounts)

    async def release(self, account: AccountId) -> None:
        del self.accounts[account]


async def test_only_what_was_unused_all_the_time() -> None:
    used, unused, sometimes = (new_account_id() for _ in range(3))
    placed, clock, in_use = Placed(used, unused, sometimes), ManualClock(), {used}
    releases = Releases(placed, in_use.__contains__, clock)
    assert await releases.look() == 0
    clock.advance(UNUSED - 1)
    in_use.add(sometimes)
    assert await releases.look() == 0
    in_use.remove(sometimes)
    clock.advance(1)
    assert await releases.look() == 1
    assert set(placed.accounts) == {used, sometimes}
    clock.advance(UNUSED)
    assert await releases.look() == 1
    assert set(placed.accounts) == {used}
