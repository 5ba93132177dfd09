"""Everything here runs on the loop of a site and on the standard library's: streams behave alike on both."""

import asyncio
import datetime
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import uvloop

from rookery.management.certificates import make_self_signed


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"uvloop": uvloop.new_event_loop, "asyncio": asyncio.new_event_loop}


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(certificate, key)"""
    folder = tmp_path_factory.mktemp("tls")
    pair = folder / "cert.pem", folder / "key.pem"
    make_self_signed(*pair, ["mx.test"], datetime.datetime.now(datetime.UTC))
    return pair
