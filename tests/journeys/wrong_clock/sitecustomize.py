"""First on PYTHONPATH, this makes the wall clock of a process wrong by the seconds that the file WRONG_CLOCK holds.

It changes from one moment to the next, as by a step of the machine's clock: the monotonic clocks go on. (libfaketime
breaks `time.sleep` of Python 3.11, and a time namespace has no wall clock of its own.)
"""

import os
import time

_right = time.time
_file = os.environ["WRONG_CLOCK"]


def _wrong() -> float:
    with open(_file) as file:
        return _right() + float(file.read() or 0.0)


time.time = _wrong
