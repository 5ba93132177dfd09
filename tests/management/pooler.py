"""A pooler as PgBouncer is with `pool_mode = transaction`: any session that is free serves the next transaction."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

NAME = ".s.PGSQL.5432"
READY, IDLE = b"Z", b"I"


class Pooler:
    """Listens in `folder`. `take`: which of the free sessions, the last (-1) or the first (0); None: as with
    `pool_mode = session` a client keeps its own."""

    def __init__(self, folder: Path, server: str, *, take: int | None) -> None:
        self._server = server
        self._take = take
        self._free: list[socket.socket] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(folder / NAME))
        self._listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client = self._listener.accept()[0]
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        mine: socket.socket | None = socket.socket(socket.AF_UNIX)
        assert mine is not None
        mine.connect(self._server)
        with client, contextlib.suppress(OSError):
            while data := client.recv(65536):  # the first is how to log in
                if data[:1] == b"X":
                    return
                server = mine or self._free.pop(self._take or 0)
                server.sendall(data)
                mine = None if self._answer(server, client) and self._take is not None else server
                if mine is None:
                    self._free.append(server)

    @staticmethod
    def _answer(server: socket.socket, client: socket.socket) -> bool:
        """All that comes until the server waits for the client again; returns whether it is outside a transaction."""
        while True:
            head = _exactly(server, 5)
            body = _exactly(server, int.from_bytes(head[1:], "big") - 4)
            client.sendall(head + body)
            if head[:1] == READY:
                return body == IDLE

    def close(self) -> None:
        self._listener.close()
        for server in self._free:
            server.close()


def _exactly(side: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        piece = side.recv(count - len(data))
        if not piece:
            raise ConnectionError
        data += piece
    return data


@contextlib.contextmanager
def pooler(folder: Path, server: str, *, take: int | None) -> Iterator[str]:
    """`server`: its socket. Yields the folder to connect to."""
    made = Pooler(folder, server, take=take)
    try:
        yield str(folder)
    finally:
        made.close()
