"""The wire between the nodes of a `Network`: forwards IPv4 packets between TUN devices, as it is told to.

    python switch.py ADDRESS=FILE-DESCRIPTOR...    a line {"from": ADDRESS, "to": ADDRESS, "lost": bool,
                                                   "delay": seconds, "rate": octets a second} is answered `ok`

A program of its own, so that nothing the test does holds up a packet. What tc's netem does is not in every kernel.
"""

import heapq
import json
import os
import select
import socket
import sys
import time
from itertools import count

QUEUE = 0.5  # seconds that packets wait for a slow way; beyond it they are dropped, as by a router
Way = tuple[bytes, bytes]  # from, to


class Switch:
    def __init__(self, links: dict[bytes, int]) -> None:
        self._links = links
        self._rules: dict[Way, tuple[bool, float, float]] = {}
        self._free: dict[Way, float] = {}  # when a way with a rate has sent what it has
        self._late: list[tuple[float, int, int, bytes]] = []
        self._numbers = count()

    def run(self) -> None:
        poll = select.poll()
        for link in (*self._links.values(), 0):
            poll.register(link, select.POLLIN)
        while True:
            wait = None if not self._late else max(0.0, self._late[0][0] - time.monotonic()) * 1000
            for link, _ in poll.poll(wait):
                if link != 0:
                    self._take(link)
                elif not self._obey(sys.stdin.readline()):
                    return
            while self._late and self._late[0][0] <= time.monotonic():
                _, _, link, packet = heapq.heappop(self._late)
                _send(link, packet)

    def _obey(self, line: str) -> bool:
        if not line:
            return False
        asked = json.loads(line)
        way = socket.inet_aton(asked["from"]), socket.inet_aton(asked["to"])
        self._rules[way] = asked["lost"], asked["delay"], asked["rate"]
        sys.stdout.write("ok\n")
        sys.stdout.flush()
        return True

    def _take(self, link: int) -> None:
        try:
            packet = os.read(link, 65536)
        except OSError:  # the namespace is going away
            return
        way = packet[12:16], packet[16:20]
        if packet[0] >> 4 != 4 or way[1] not in self._links:
            return
        lost, delay, rate = self._rules.get(way, (False, 0.0, 0.0))
        if lost:
            return
        if not delay and not rate:
            _send(self._links[way[1]], packet)
            return
        now = time.monotonic()
        begin = max(now, self._free.get(way, now))
        if begin - now > QUEUE:
            return
        self._free[way] = begin + len(packet) / rate if rate else begin
        heapq.heappush(self._late, (self._free[way] + delay, next(self._numbers), self._links[way[1]], packet))


def _send(link: int, packet: bytes) -> None:
    try:
        os.write(link, packet)
    except OSError:  # down, or going away
        return


if __name__ == "__main__":
    pairs = [argument.split("=") for argument in sys.argv[1:]]
    Switch({socket.inet_aton(address): int(link) for address, link in pairs}).run()
