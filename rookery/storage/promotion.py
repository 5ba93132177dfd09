"""A copy of a static pool's store takes its place.

A store has an id for life and a generation. The directory knows the highest, and a node whose folder has a lower one
does not serve: another copy was promoted. The directory's is raised before the folder's, so that a crash between the
two leaves no copy that may serve, and the promotion is done again. A folder with a higher one than the directory's is
right all the same: the directory was restored from a copy of before, and takes over what the folder says.
"""

from pathlib import Path

from rookery.storage.engine import Database
from rookery.storage.files import DiskFiles, Files
from rookery.storage.jump import jump
from rookery.storage.lock import Identity, write_identity

GROUP = 500  # accounts of one transaction


def jump_all(database: Database, promotions: int = 1) -> int:
    """The copy may lack what clients have seen: no UID is used again; nor one of an earlier promotion, of which the
    copy knows nothing. Of a store that nobody serves; returns of how many accounts.
    """
    with database.read() as reader:
        accounts = [row[0] for row in reader.rows("SELECT account FROM account")]
    for start in range(0, len(accounts), GROUP):
        with database.write() as tx:
            jump(tx, dict.fromkeys(accounts[start : start + GROUP], promotions))
    return len(accounts)


def promote(folder: Path, owner: Identity, generation: int, files: Files | None = None) -> Identity:
    """Blocking. Of the store in `folder`, which this process has locked."""
    made = Identity(owner.store, generation)
    write_identity(folder, files or DiskFiles(), made)
    return made
