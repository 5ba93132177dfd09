"""An S3 server of the package index (moto) in the test's own process, and a bucket of its own for each test."""

import functools
import itertools
import logging
import urllib.request

import pytest
from obstore.store import ObjectStore

from rookery.storage.object_blobs import connect

_numbers = itertools.count(1)


@functools.cache
def _server() -> str:
    """Its threads end with the run."""
    moto = pytest.importorskip("moto.server", reason="no S3 server (moto)")
    logging.getLogger("werkzeug").disabled = True
    server = moto.ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    return f"http://{host}:{port}"


class Bucket:
    """`url`, and `options` for whoever opens it."""

    def __init__(self) -> None:
        name = f"bucket{next(_numbers)}"
        self.url = f"s3://{name}/mail"
        self.options = {
            "endpoint": _server(), "region": "us-east-1", "access_key_id": "test", "secret_access_key": "test"
        }  # fmt: skip
        request = urllib.request.Request(f"{_server()}/{name}", method="PUT")
        with urllib.request.urlopen(request):
            pass


@pytest.fixture
def bucket() -> Bucket:
    return Bucket()


@pytest.fixture
def s3(bucket: Bucket) -> ObjectStore:
    return connect(bucket.url, bucket.options)
