"""Octets between a client and the host of its account, both ways, until one of them ends."""

import asyncio
from collections.abc import Awaitable

from rookery.net.stream import Stream


async def relay_after(client: Stream, logged_in: Awaitable[Stream | None]) -> None:
    """The whole of a client: what comes before, which ends with its host or with None, and the relay. It is closed."""
    try:
        host = await logged_in
        if host is not None:
            await relay(client, host)
    finally:
        client.close()


async def relay(client: Stream, host: Stream) -> None:
    """Returns when one side has ended and the other has been told. What that one said last is delivered. When the
    client is interrupted (the node is being drained) the host is asked to come to an end, as it does when it is
    drained itself: between two commands, with its last word.

    There is no task for either way: of ten thousand sessions most are idle.
    """
    ended = asyncio.get_running_loop().create_future()

    def over() -> None:
        if not ended.done():
            ended.set_result(None)

    try:
        client.divert(host, over)
        host.divert(client, over)
        await ended
    finally:
        for stream in (host, client):
            stream.undivert()
            stream.close()
