"""Blobs as objects in S3, Google Cloud Storage or Azure, through obstore.

    ROOKERY-STORE    whose they are        ab/<blob id>, which ends with ab

A put is durable, and whole, when it is answered. Requests have time-outs and are tried again a few times only: a batch
that cannot be kept is refused soon, and whoever brought the mail tries again.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import obstore
from obstore.exceptions import BaseError
from obstore.store import ObjectStore, from_url

from rookery.base.errors import Cause, RookeryError
from rookery.base.ids import BlobId
from rookery.storage.files import Files
from rookery.storage.parted_blobs import MARK, PartedBlobs, named

SCHEMES = ("s3", "gs", "az")
PIECE = 5 << 20  # octets of an object's piece; S3 takes no smaller ones
PIECES = 4  # of one object, sent at the same time
CONNECTING = timedelta(seconds=2)
REQUEST = timedelta(seconds=10)
RETRIES = 3
RETRYING = timedelta(seconds=5)  # after which nothing is tried again
PAGE = 1000  # names in one answer
SAID = 200  # characters of an error
# Of its client for HTTP, which obstore takes elsewhere: among the options of a bucket they end it by a panic.
_CLIENT = re.compile(
    r"(aws_|azure_|google_)?allow_(http|invalid_certificates)|(connect_|read_)?timeout|default_content_type|http[12]_\w+|pool_(idle|max)_\w+"
    r"|proxy_\w+|randomize_addresses|user_agent",
    re.IGNORECASE,
)


def connect(url: str, options: Mapping[str, str]) -> ObjectStore:
    """`options`: endpoint, region and what else the service takes. Credentials are taken from the environment too.

    Raises UNSUPPORTED, with what is wrong.
    """
    scheme, _, rest = url.partition("://")
    if scheme not in SCHEMES or "@" in rest.partition("/")[0]:
        raise RookeryError(Cause.UNSUPPORTED, "not the address of a bucket, as s3://bucket/folder, without credentials")
    for name in options:
        if _CLIENT.fullmatch(name):
            what = f"{name} is no option of a bucket; an endpoint that begins with http:// is reached without TLS"
            raise RookeryError(Cause.UNSUPPORTED, what)
    config: Any = dict(options)
    client: Any = {"connect_timeout": CONNECTING, "timeout": REQUEST}
    if any(value.startswith("http://") for value in options.values()):
        client["allow_http"] = True
    retry: Any = {"max_retries": RETRIES, "retry_timeout": RETRYING}
    try:
        made: ObjectStore = from_url(url, config=config, client_options=client, retry_config=retry)
    except BaseError as error:
        raise RookeryError(Cause.UNSUPPORTED, _said(error)) from error
    return made


def _said(error: BaseError) -> str:
    """Its first line without queries, which may be signed."""
    return re.sub(r"\?\S*", "", str(error).partition("\n")[0])[:SAID].rstrip()


class ObjectBlobs(PartedBlobs):
    """`objects`: of `connect`, or one in memory."""

    patient = True

    def __init__(self, objects: ObjectStore, where: str, staging: Path, files: Files | None = None) -> None:
        super().__init__(where, staging, files)
        self._objects = objects

    @staticmethod
    def _key(blob: BlobId) -> str:
        name = blob.hex()
        return f"{name[-2:]}/{name}"

    @contextmanager
    def _failing(self, what: str) -> Iterator[None]:
        with super()._failing(what):
            try:
                yield
            except BaseError as error:
                raise RookeryError(Cause.UNAVAILABLE, f"{self.where} cannot be {what}: {_said(error)}") from error

    def _put(self, blob: BlobId, size: int, octets: Iterator[bytes]) -> None:
        with self._failing("written"):
            if size <= PIECE:
                obstore.put(self._objects, self._key(blob), b"".join(octets), use_multipart=False)
            else:
                obstore.put(self._objects, self._key(blob), octets, chunk_size=PIECE, max_concurrency=PIECES)

    def _get(self, blob: BlobId, start: int, stop: int) -> bytes:
        key = self._key(blob)
        try:
            return bytes(obstore.get_range(self._objects, key, start=start, end=stop))
        except BaseError as error:
            # Of an object that ends before `start` services say so, each in its own words.
            if "range" not in str(error).lower() or obstore.head(self._objects, key)["size"] > start:
                raise
            return b""

    def _remove(self, blobs: Sequence[BlobId]) -> None:
        keys = [self._key(blob) for blob in blobs]
        try:
            obstore.delete(self._objects, keys)
        except FileNotFoundError:  # only some services mind
            for key in keys:
                try:
                    obstore.delete(self._objects, key)
                except FileNotFoundError:
                    continue

    def shelf(self, number: int) -> list[BlobId]:
        with self._failing("listed"):
            pages = obstore.list(self._objects, f"{number:02x}", chunk_size=PAGE)
            names = [entry["path"].rpartition("/")[2] for page in pages for entry in page]
        return sorted(blob for blob in map(named, names) if blob is not None)

    def _read_mark(self) -> str | None:
        try:
            return bytes(obstore.get(self._objects, MARK).bytes()).decode(errors="replace").strip()
        except FileNotFoundError:
            return None

    def _probe(self, name: str) -> None:
        obstore.put(self._objects, name, b"probe", use_multipart=False)
        obstore.get_range(self._objects, name, start=0, end=5)
        next(iter(obstore.list(self._objects, "00", chunk_size=PAGE)), None)
        obstore.delete(self._objects, name)

    def _write_mark(self, text: str) -> None:
        obstore.put(self._objects, MARK, text.encode() + b"\n", use_multipart=False)
