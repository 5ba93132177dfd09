"""A site: one folder that holds everything of one node, and how it is laid out, made and read.

DIR/rookery.toml   settings          DIR/store/        mail            DIR/directory.db   domains, accounts
DIR/tls/           certificate, key  DIR/spool/        mail under way  DIR/keys/          secrets of the site
DIR/control.sock   the control socket of a running node
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rookery.base.config import Config, Problem, load
from rookery.base.config.render import toml
from rookery.base.errors import Cause, RookeryError
from rookery.management.durable import write_durably

CONFIG_NAME = "rookery.toml"


@dataclass(frozen=True, slots=True)
class Site:
    """The folder of a site. Nothing is opened; the paths need not exist."""

    folder: Path

    @property
    def config_file(self) -> Path:
        return self.folder / CONFIG_NAME

    @property
    def store(self) -> Path:
        return self.folder / "store"

    @property
    def spool(self) -> Path:
        return self.folder / "spool"

    @property
    def directory(self) -> Path:
        return self.folder / "directory.db"

    @property
    def keys(self) -> Path:
        return self.folder / "keys"

    @property
    def tls(self) -> Path:
        return self.folder / "tls"

    def own(self, backend: str) -> Path:
        """What one of several backend processes keeps for itself."""
        return self.folder / "backends" / backend

    def path(self, setting: str) -> Path:
        """A path as settings give it: relative to the site unless absolute."""
        return self.folder / setting

    def control(self, config: Config, backend: str = "") -> Path:
        """The socket of the node, or of one of its backends."""
        return self.own(backend) / "control.sock" if backend else self.path(config.site.control)

    def controls(self, config: Config) -> list[Path]:
        """Any of them answers for the whole site."""
        return [self.control(config, name) for name, _ in config.store.backends] or [self.control(config)]

    def load(self) -> tuple[Config, list[Problem]]:
        return load(self.config_file)


def open_site(folder: Path) -> tuple[Site, Config]:
    """The site in `folder` with its settings; raises RookeryError naming every problem of the file."""
    site = Site(folder.absolute())
    if not site.config_file.is_file():
        raise RookeryError(
            Cause.NOT_FOUND, f"{folder} is not a site: it has no {CONFIG_NAME}; make one with `rookery init {folder}`"
        )
    config, problems = site.load()
    errors = [str(problem) for problem in problems if not problem.warning]
    if errors:
        raise RookeryError(Cause.INVALID, "\n".join(errors))
    return site, config


def refuse_in_use(folder: Path) -> None:
    """Raises RookeryError unless `folder` does not exist yet or is an empty folder."""
    if folder.is_symlink() or folder.exists():
        if not folder.is_dir():
            raise RookeryError(Cause.EXISTS, f"{folder} exists and is not a folder; give another name")
        found = sorted(entry.name for entry in folder.iterdir())
        if found:
            more = f" and {len(found) - 1} more" if len(found) > 1 else ""
            raise RookeryError(
                Cause.EXISTS, f"{folder} is in use: it holds {found[0]}{more}; give a folder that is empty or not there"
            )


def make_folders(folder: Path) -> Site:
    """The folders of a new site; only its owner may look inside."""
    site = Site(folder.absolute())
    for part in (site.folder, site.store, site.spool, site.keys, site.tls):
        part.mkdir(mode=0o700, parents=part is site.folder, exist_ok=part is site.folder)
    site.folder.chmod(0o700)
    return site


def write_config(site: Site, values: Mapping[str, object]) -> None:
    """The commented settings file, with `values` set: typed, by key."""
    write_durably(site.config_file, toml(values).encode())
