"""The settings store.blobs and what belongs to it: where bodies are, with which credentials, and whether that works."""

import re
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path

from rookery.base.config import Config
from rookery.base.errors import Cause, RookeryError
from rookery.base.ids import short_id
from rookery.management.site import Site
from rookery.storage.elsewhere import Elsewhere, open_elsewhere

_SECRET = re.compile(r"secret|token|password|sas_|_sas|credential|(access|account|storage|master|customer)_key$")


def elsewhere(site: Site, config: Config) -> Elsewhere | None:
    """None: in the database, or the folder of the site. Raises INVALID: the file of credentials is not one."""
    where = config.store.blobs
    if not where:
        return None
    if "://" not in where:
        return Elsewhere(str(site.path(where)))
    credentials = _credentials(site.path(config.store.blob_credentials_file))
    return Elsewhere(where, dict(config.store.blob_options) | credentials)


def _credentials(path: Path) -> dict[str, str]:
    """Without the file, the environment may have them."""
    try:
        text = path.read_text(encoding="utf-8")
        found = tomllib.loads(text)
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        what = f"store.blob_credentials_file: {path} cannot be read: {type(error).__name__}"
        raise RookeryError(Cause.INVALID, what) from None  # it may quote a secret
    if not all(isinstance(value, str) for value in found.values()):
        raise RookeryError(Cause.INVALID, f'store.blob_credentials_file: {path}: expected lines as name = "value"')
    return found


def problems(config: Config) -> Iterator[tuple[str, str, str]]:
    """Key, found and expected, of what the settings alone show."""
    store = config.store
    if store.blobs and not store.database:
        yield "store.blobs", store.blobs, "a store.database: bodies are elsewhere only where the index is shared"
    if re.match(r"\w+://[^/]*@", store.blobs):
        yield "store.blobs", "credentials", "those in store.blob_credentials_file, or in the environment"
    for name, _ in store.blob_options:
        if _SECRET.search(name.lower()):
            yield "store.blob_options", name, "credentials in store.blob_credentials_file, or in the environment"


def examine(site: Site, config: Config) -> str | None:
    """Write, and remove again, where bodies are to be; what is wrong. Takes seconds when a service is away."""
    try:
        place = elsewhere(site, config)
        if place is None:
            return None
        with tempfile.TemporaryDirectory() as staging:
            blobs = open_elsewhere(place, Path(staging))
            try:
                blobs.probe(f"PROBE-{short_id()}")
            finally:
                blobs.close()
    except RookeryError as error:
        file = config.store.blob_credentials_file
        missing = "://" in config.store.blobs and not site.path(file).exists()
        return f"{error.what}; there are no credentials in {file}" if missing else error.what
    return None
