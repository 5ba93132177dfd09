"""Postfix (Debian) as MX in front of Dovecot's LMTP: a second instance with folders of its own, as it ships.

The limits that would keep a benchmark from measuring the machine (client connection and rate limits, delivery
concurrency) are opened; durability is left as it is.
"""

import os
import pwd
import shutil
import subprocess
from pathlib import Path

from bench.peers.base import DOMAIN, Missing, Ports, ProcessTree, free_port, install, wait_for_port

MAIN = """
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
maillog_file = {folder}/log/mail.log
maillog_file_prefixes = {folder}
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
myhostname = mx.{domain}
mydestination =
mynetworks = 192.0.2.0/32
smtpd_relay_restrictions = reject_unauth_destination
virtual_mailbox_domains = {domain}
virtual_mailbox_maps = static:ok
virtual_transport = lmtp:inet:127.0.0.1:{lmtp}
lmtp_destination_concurrency_limit = {concurrency}
virtual_destination_concurrency_limit = {concurrency}
initial_destination_concurrency = {concurrency}
lmtp_destination_recipient_limit = 1
default_process_limit = {processes}
smtpd_client_connection_count_limit = 0
smtpd_client_connection_rate_limit = 0
smtpd_peername_lookup = no
in_flow_delay = 0
alias_maps =
alias_database =
"""

MASTER = """
127.0.0.1:{smtp} inet n - n - - smtpd
pickup    unix  n       -       n       60      1       pickup
cleanup   unix  n       -       n       -       0       cleanup
qmgr      unix  n       -       n       300     1       qmgr
tlsmgr    unix  -       -       n       1000?   1       tlsmgr
rewrite   unix  -       -       n       -       -       trivial-rewrite
bounce    unix  -       -       n       -       0       bounce
defer     unix  -       -       n       -       0       bounce
trace     unix  -       -       n       -       0       bounce
verify    unix  -       -       n       -       1       verify
flush     unix  n       -       n       1000?   0       flush
proxymap  unix  -       -       n       -       -       proxymap
smtp      unix  -       -       n       -       -       smtp
relay     unix  -       -       n       -       -       smtp
error     unix  -       -       n       -       -       error
retry     unix  -       -       n       -       -       error
discard   unix  -       -       n       -       -       discard
lmtp      unix  -       -       n       -       -       lmtp
anvil     unix  -       -       n       -       1       anvil
scache    unix  -       -       n       -       1       scache
postlog   unix-dgram n  -       n       -       1       postlogd
"""


class Postfix:
    """Delivers to the LMTP port it is handed. Raises Missing."""

    name = "postfix + dovecot"

    def __init__(self, folder: Path, lmtp_port: int, *, concurrency: int = 20, processes: int = 100) -> None:
        if shutil.which("postfix", path="/usr/sbin:/usr/bin") is None:
            install("postfix")
        if os.geteuid() != 0:
            raise Missing("postfix: needs root to start")
        self.folder = folder
        self.ports = Ports(smtp=free_port(), lmtp=lmtp_port)
        config = folder / "etc"
        for name in ("etc", "queue", "data", "log"):
            (folder / name).mkdir(parents=True)
        os.chown(folder / "data", pwd.getpwnam("postfix").pw_uid, -1)
        (config / "main.cf").write_text(
            MAIN.format(folder=folder, domain=DOMAIN, lmtp=lmtp_port, concurrency=concurrency, processes=processes)
        )
        (config / "master.cf").write_text(MASTER.format(smtp=self.ports.smtp))
        self._config = config
        self._postfix("start")
        wait_for_port(self.ports.smtp)

    def _postfix(self, command: str) -> None:
        done = subprocess.run(
            ["/usr/sbin/postfix", "-c", str(self._config), command], capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise Missing(f"postfix {command}: {done.stderr[-400:]}")

    def queued(self) -> int:
        """Messages that have been accepted and are not delivered yet."""
        return sum(
            len(files)
            for name in ("maildrop", "incoming", "active", "deferred")
            for _, _, files in os.walk(self.folder / "queue" / name)
        )

    def pids(self) -> list[int]:
        """The master process and what it started."""
        return ProcessTree(int((self.folder / "queue" / "pid" / "master.pid").read_text())).pids()

    def stop(self) -> None:
        self._postfix("stop")
