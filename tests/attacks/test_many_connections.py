"""5,000 connections from one address: those beyond its limit get one line each, others are served all the while."""

import asyncio
import resource
import socket

import uvloop

from rookery.net.limits import ConnectionLimits, Total
from rookery.net.listener import listen
from rookery.net.stream import Stream

COUNT = 5000
REFUSAL = b"421 4.7.0 Too many connections\r\n"


async def _attack() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, COUNT + 1000)), hard))  # theirs; ours are few
    served = 0

    async def serve(stream: Stream) -> None:
        nonlocal served
        served += 1
        stream.write(b"220 hello\r\n")
        while await stream.read():
            pass

    total = Total()
    listener = await listen(
        ["127.0.0.1"], 0, serve, name="smtp", limits=ConnectionLimits(100, None), total=total, refusal=REFUSAL
    )
    loop = asyncio.get_running_loop()
    sockets: list[socket.socket] = []
    try:
        for _ in range(COUNT):
            connection = socket.socket()
            connection.setblocking(False)
            sockets.append(connection)
            await loop.sock_connect(connection, ("127.0.0.1", listener.ports[0]))
        other = socket.socket()
        other.bind(("127.0.0.2", 0))
        other.setblocking(False)
        sockets.append(other)
        await loop.sock_connect(other, ("127.0.0.1", listener.ports[0]))
        assert await loop.sock_recv(other, 100) == b"220 hello\r\n"
        answers = [await loop.sock_recv(connection, 100) for connection in sockets[:COUNT]]
    finally:
        for connection in sockets:
            connection.close()
        await listener.drain(10)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert answers.count(b"220 hello\r\n") == 100
    assert answers.count(REFUSAL) == COUNT - 100
    assert served == 101
    assert total.count == 0


def test_one_address_cannot_take_the_place_of_others() -> None:
    uvloop.run(_attack())
