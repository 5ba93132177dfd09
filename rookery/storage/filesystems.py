"""Refuse network file systems for an index database: SQLite's locks and shared memory do not hold there."""

from pathlib import Path

from rookery.base.errors import Cause, RookeryError

# 9p is missing on purpose: containers show a local root by that name, and SQLite says itself if it cannot work there.
NETWORK = frozenset(
    {"nfs", "nfs4", "cifs", "smb2", "smb3", "smbfs", "afs", "ceph", "coda", "glusterfs", "ncpfs", "ncp", "ocfs2", "gfs",
     "gfs2", "gpfs", "lustre", "beegfs", "davfs", "vboxsf", "prl_fs", "fuse.glusterfs", "fuse.sshfs", "fuse.s3fs",
     "fuse.juicefs", "fuse.ceph", "fuse.ceph-fuse", "fuse.rclone", "fuse.davfs2", "fuse.mfs", "fuse.moosefs",
     "fuse.gcsfuse", "fuse.goofys", "fuse.seaweedfs", "fuse.vmhgfs-fuse"}
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
