"""The other nodes' half of the engine's seam, for a database that only one process opens: there is nobody else."""

from collections.abc import Callable, Sequence

from rookery.storage.engine import Value


class AloneTransaction:
    """The only writer has every row already."""

    __slots__ = ()

    def lock_many(self, table: str, keys: Sequence[str], values: Sequence[Sequence[Value]]) -> None:
        return

    def announce(self) -> None:
        return


class AloneDatabase:
    shared = False
    doubts = 0  # after a failed commit the file itself is asked, when it is opened again

    def answered(self, thread: int) -> int:
        return 0

    def listen(self, wake: Callable[[], None]) -> Callable[[], None]:
        return lambda: None

    def end_sessions(self, application: str) -> None:
        return

    def confirm_release(self) -> None:
        return
