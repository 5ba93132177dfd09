"""The systemd unit: its own user, nothing writable but its own folders, one capability (ports below 1024)."""

from pathlib import Path

_UNIT = """\
# Rookery mail server. Settings: /etc/rookery/rookery.toml (linked from the site); site: /var/lib/rookery.
[Unit]
Description=Rookery mail server
After=network-online.target nss-lookup.target
Wants=network-online.target

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
    return _UNIT.format(program=program, user=user)
