"""/healthz and /metrics: small, bounded, and nothing else."""

import asyncio
from collections.abc import AsyncIterator
from typing import Never

import pytest

from rookery.base import meters
from rookery.base.errors import Cause, RookeryError
from rookery.base.log import logger
from rookery.management.http import HEAD_LIMIT, HttpServer, Page
from rookery.management.metrics import Gauge, Metrics


async def hello() -> Page:
    return Page(200, "text/plain", b"hello\n")


async def gauges() -> list[Gauge]:
    return [("queue_messages", "Messages.", {"": 3}), ("connections", "Connections.", {"imap": 2, "smtp": 0})]


async def away() -> Never:
    raise RookeryError(Cause.UNAVAILABLE, "the database is away")


@pytest.fixture
async def port(unused_tcp_port: int) -> AsyncIterator[int]:
    server = HttpServer({"/healthz": hello, "/away": away, "/metrics": Metrics(away, gauges).page})
    await server.start("127.0.0.1", unused_tcp_port)
    yield unused_tcp_port
    await server.close()


async def ask(port: int, data: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    if data[-4:] != b"\r\n\r\n":
        writer.write_eof()
    answer = await reader.read()
    writer.close()
    return answer


async def test_a_page(port: int) -> None:
    answer = await ask(port, b"GET /healthz?x=1 HTTP/1.1\r\nHost: x\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b"\r\nContent-Length: 6\r\nCache-Control: no-store\r\nConnection: close\r\n\r\nhello\n")
    assert (await ask(port, b"HEAD /healthz HTTP/1.1\r\n\r\n")).endswith(b"\r\n\r\n")


async def test_a_page_that_needs_a_database_that_is_away(port: int) -> None:
    answer = await ask(port, b"GET /away HTTP/1.1\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert answer.endswith(b"\r\n\r\nthe database is away\n")


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET /x HTTP/1.1\r\n\r\n", 404),
        (b"POST /healthz HTTP/1.1\r\n\r\n", 405),
        (b"GET /healthz\r\n\r\n", 400),
        (b"GET /\xff HTTP/1.1\r\n\r\n", 404),
        (b"nonsense", 400),
        (b"GET / HTTP/1.1\r\nX: " + b"y" * HEAD_LIMIT * 2 + b"\r\n\r\n", 431),
    ],
)
async def test_everything_else_is_refused(port: int, request_: bytes, status: int) -> None:
    assert (await ask(port, request_)).startswith(b"HTTP/1.1 %d " % status)


async def test_metrics(port: int) -> None:
    meters.counter("test_done", "Done.", ("protocol", "imap")).add(2)
    meters.counter("test_done", "Done.", ("protocol", "lmtp")).add()
    latency = meters.histogram("test_seconds", "Time.", (0.1, 1.0))
    for value in (0.05, 0.1, 0.5, 7):
        latency.observe(value)
    logger("queue").info("delivered")
    logger("t.quiet").error("trouble")
    text = (await ask(port, b"GET /metrics HTTP/1.1\r\n\r\n")).decode()
    for line in (
        'rookery_test_done_total{protocol="imap"} 2.0',
        'rookery_test_done_total{protocol="lmtp"} 1.0',
        'rookery_test_seconds_bucket{le="0.1"} 2.0',
        'rookery_test_seconds_bucket{le="1.0"} 3.0',
        'rookery_test_seconds_bucket{le="+Inf"} 4.0',
        "rookery_test_seconds_count 4.0",
        "rookery_test_seconds_sum 7.65",
        "rookery_queue_messages 3.0",
        'rookery_connections{name="imap"} 2.0',
        'rookery_failures_total{fault="us"}',
        'rookery_deliveries_total{fate="delivered"}',
        'rookery_deliveries_total{fate="failed"}',
        'rookery_events_total{component="t.quiet",event="trouble"} 1.0',
        "process_resident_memory_bytes",
    ):
        assert line in text
