"""The systemd unit: its own user, nothing writable but its own folders, one capability (ports below 1024)."""

import re
from pathlib import Path

from rookery.base.errors import Cause, RookeryError

# What systemd takes as User= in its strict mode, and useradd makes (systemd.io/USER_NAMES).
_USER = re.compile(r"[a-z_][a-z0-9_-]{0,30}")
# Nothing to which ExecStart= gives a meaning of its own: blanks, quotes, backslash, $, %, ; (systemd.service(5)).
_PATH = re.compile(r"/[A-Za-z0-9/._+,:@~=-]+")

_UNIT = """\
# Rookery mail server. Settings: /etc/rookery/rookery.toml (linked from the site); site: /var/lib/rookery.
[Unit]
Description=Rookery mail server
After=network-online.target nss-lookup.target postgresql.service patroni.service
Wants=network-online.target
# A database may come up long after this: never give up.
StartLimitIntervalSec=0

[Service]
Type=notify
NotifyAccess=main
User={user}
Group={user}
Environment=ROOKERY_SITE=/var/lib/rookery
ExecStartPre={program} check
ExecStart={program} serve
ExecReload=/bin/kill -HUP $MAINPID
Restart=on-failure
RestartSec=1
TimeoutStopSec=60
LimitNOFILE=131072
LimitCORE=0

ConfigurationDirectory=rookery
ConfigurationDirectoryMode=0750
StateDirectory=rookery
StateDirectoryMode=0700
RuntimeDirectory=rookery
RuntimeDirectoryMode=0750
LogsDirectory=rookery
LogsDirectoryMode=0750
UMask=0077

AmbientCapabilities=CAP_NET_BIND_SERVICE
CapabilityBoundingSet=CAP_NET_BIND_SERVICE
NoNewPrivileges=yes
ProtectSystem=strict
ReadWritePaths=/var/lib/rookery /run/rookery
ProtectHome=yes
PrivateTmp=yes
PrivateDevices=yes
ProtectClock=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectControlGroups=yes
ProtectProc=invisible
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
SystemCallErrorNumber=EPERM
RemoveIPC=yes

[Install]
WantedBy=multi-user.target
"""


def unit_text(*, program: Path, user: str) -> str:
    """Raises RookeryError(INVALID) for what would mean something else inside a unit."""
    if not _USER.fullmatch(user):
        raise RookeryError(
            Cause.INVALID,
            f"--user {user!r}: expected the name of a system user: 1 to 31 of a-z, 0-9, _ and -, not beginning with a"
            " digit or -, such as rookery",
        )
    if not _PATH.fullmatch(str(program)):
        raise RookeryError(
            Cause.INVALID,
            f"{str(program)!r}, the path of this command, cannot stand in a unit: expected an absolute path of letters,"
            " digits and /._+,:@~=-; install it elsewhere, such as in /opt/rookery",
        )
    return _UNIT.format(program=program, user=user)
