"""When to try again, and when to give up. Pure: times and dice come in."""

import random
from dataclasses import dataclass

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0
JITTER = 0.2  # of a wait, so that what failed together does not come back together
RETRY = (1 * MINUTE, 5 * MINUTE, 15 * MINUTE, 30 * MINUTE, 1 * HOUR, 2 * HOUR, 4 * HOUR)


@dataclass(frozen=True, slots=True)
class Schedule:
    """`retry`: waits after the first, second, ... attempt, the last one repeats. `lifetime`: after it mail is returned.

    `delay_notice`: when a sender who submitted here is told that his mail is late; 0 is never. Only they are told: for
    others it would be mail to addresses that nobody proved.
    """

    lifetime: float = 5 * DAY
    retry: tuple[float, ...] = RETRY
    delay_notice: float = 4 * HOUR

    def next(self, attempts: int, received: int, now: int, dice: random.Random) -> int | None:
        """The time of the attempt after `attempts` ones, None when the lifetime is over.

        The last attempt falls on the end of the lifetime, not before it.
        """
        end = received + int(self.lifetime)
        if now >= end:
            return None
        wait = self.retry[min(max(attempts, 1), len(self.retry)) - 1]
        spread = wait * dice.uniform(1.0 - JITTER, 1.0 + JITTER)
        return min(now + max(1, round(spread)), end)


SCHEDULE = Schedule()
