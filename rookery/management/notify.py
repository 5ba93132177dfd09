"""sd_notify: tells systemd, if it asked, that the node is ready, reloading or stopping (sd_notify(3))."""

import os
import socket
import time

from rookery.base.log import logger

_log = logger("node")


def notify(state: str, status: str = "") -> None:
    """`state` as "READY=1"; does nothing unless $NOTIFY_SOCKET is set. A failure is logged, not raised."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    lines = [state]
    if status:
        lines.append(f"STATUS={status}")
    if state == "RELOADING=1":
        lines.append(f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
    if address.startswith("@"):
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
            channel.connect(address)
            channel.send("\n".join(lines).encode())
    except OSError as error:
        _log.warning("notify-failed", what=str(error))
