"""What a process may do: giving up root once the ports are open, and as many open files as the machine allows."""

import os
import pwd
import resource

from rookery.base.errors import Cause, RookeryError
from rookery.base.log import logger

FILES_BESIDES = 200  # open files that are no connections: databases, segments, log

_log = logger("node")


def must_become(user: str) -> bool:
    """Whether there is somebody else to become."""
    return bool(user) and os.geteuid() == 0 and pwd.getpwnam(user).pw_uid != 0


def become(user: str) -> None:
    """For good: groups, group, user, in this order. Raises RookeryError(DENIED)."""
    found = pwd.getpwnam(user)
    try:
        os.initgroups(user, found.pw_gid)
        os.setgid(found.pw_gid)
        os.setuid(found.pw_uid)
    except OSError as error:
        raise RookeryError(
            Cause.DENIED, f"site.user: cannot become {user}: {error.strerror}; start as root, or as {user}"
        ) from error
    os.environ["HOME"] = found.pw_dir


def allow_open_files(connections: int) -> None:
    """Raise the soft limit to the hard one; says so in the log when even that is too low for so many connections."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
        except (OSError, ValueError) as error:
            _log.warning("open-files", what=str(error))
    if soft != resource.RLIM_INFINITY and soft < connections + FILES_BESIDES:
        _log.warning("open-files", limit=soft, what="too low for limits.connections; raise LimitNOFILE or ulimit -n")
