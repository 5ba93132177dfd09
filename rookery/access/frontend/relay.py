"""Octets between a client and the host of its account, both ways, until one of them ends."""

import asyncio

from rookery.net.stream import Interrupted, Stream


async def relay(client: Stream, host: Stream) -> None:
    """Returns when one side has ended and the other has been told. What the host said last is delivered; an
    interrupted client (the node is being drained) is let go between two pieces.
    """
    up = asyncio.create_task(_copy(client, host))
    down = asyncio.create_task(_copy(host, client))
    try:
        await asyncio.wait((up, down), return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (up, down):
            task.cancel()
        await asyncio.gather(up, down, return_exceptions=True)
        host.close()
        client.close()


async def _copy(source: Stream, sink: Stream) -> None:
    try:
        while data := await source.read():
            sink.write(data)
            if sink.unsent:
                await sink.drain()
    except (Interrupted, TimeoutError):
        return
