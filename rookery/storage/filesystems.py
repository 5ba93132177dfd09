"""Refuse network file systems for an index database: SQLite's locks and shared memory do not hold there."""

from pathlib import Path

from rookery.base.errors import Cause, RookeryError

NETWORK = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "glusterfs", "fuse.glusterfs", "fuse.sshfs", "ncpfs",
     "ocfs2", "gfs2", "lustre", "beegfs", "fuse.s3fs", "fuse.juicefs"}
)  # fmt: skip


def kind_of(folder: Path, mounts: str) -> str:
    """The file system type of `folder`, from the text of /proc/mounts; "" when unknown."""
    best, kind = -1, ""
    where = str(folder.resolve())
    for line in mounts.splitlines():
        fields = line.split(" ")
        if len(fields) < 3:
            continue
        point = fields[1].replace("\\040", " ")
        inside = where == point or where.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= best:
            best, kind = len(point), fields[2]
    return kind


def refuse_network(folder: Path) -> None:
    """Raises UNSUPPORTED for a folder on a network file system; says nothing where that cannot be known."""
    try:
        mounts = Path("/proc/mounts").read_text()
    except OSError:
        return
    kind = kind_of(folder, mounts)
    if kind in NETWORK:
        raise RookeryError(
            Cause.UNSUPPORTED,
            f"{folder} is on a network file system ({kind}): an index database needs a local disk, because locks and"
            " shared memory do not hold over the network. Message bodies may live there, the index may not",
        )
