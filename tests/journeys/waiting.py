"""Waiting for a real process to reach a state that only asking can show."""

import time
from collections.abc import Callable

PATIENCE = 60.0  # seconds
INTERVAL = 0.05


def wait_until(true: Callable[[], object], what: str, patience: float = PATIENCE) -> None:
    """Ask until the answer is true; raises AssertionError naming `what` when patience ends."""
    end = time.monotonic() + patience
    while not true():
        assert time.monotonic() < end, f"waited {patience:g} s in vain for {what}"
        time.sleep(INTERVAL)
