"""Giving up root: a node that was started as root opens its ports and then becomes the user of `site.user`."""

import os
import pwd

from rookery.base.errors import Cause, RookeryError


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
        raise RookeryError(Cause.DENIED, f"site.user: cannot become {user}: {error.strerror}") from error
    os.environ["HOME"] = found.pw_dir
