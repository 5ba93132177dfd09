"""Dovecot 2.3 (Debian) with LMTP and IMAP on loopback, its own folder, durable as it ships (mail_fsync=optimized)."""

import os
import pwd
import shutil
import signal
import subprocess
from pathlib import Path

from bench.peers.base import PASSWORD, Missing, Ports, ProcessTree, free_port, install, wait_for_port

CONFIG = """
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/dovecot.log
protocols = imap lmtp
listen = 127.0.0.1
ssl = yes
ssl_cert = <{certificate}
ssl_key = <{key}
disable_plaintext_auth = no
auth_mechanisms = plain login
auth_cache_size = 10M
mail_location = {format}:{folder}/mail/%u
mail_uid = {user}
mail_gid = {group}
first_valid_uid = 1
mail_fsync = optimized
mail_max_userip_connections = 0
default_process_limit = 1000
default_client_limit = 13000
passdb {{
  driver = static
  args = password={password}
}}
userdb {{
  driver = static
  args = uid={user} gid={group} home={folder}/mail/%u allow_all_users=yes
}}
service lmtp {{
  process_min_avail = {workers}
  inet_listener lmtp {{
    address = 127.0.0.1
    port = {lmtp}
  }}
}}
service imap-login {{
  service_count = 0
  process_min_avail = 2
  client_limit = 12000
  inet_listener imap {{
    port = {imap}
  }}
  inet_listener imaps {{
    port = {imaps}
    ssl = yes
  }}
}}
service imap {{
  process_limit = 12000
}}
namespace inbox {{
  inbox = yes
  separator = /
}}
"""


class Dovecot:
    """`mail_format`: maildir, sdbox or mdbox. Raises Missing."""

    def __init__(self, folder: Path, *, mail_format: str = "mdbox", workers: int = 10) -> None:
        if shutil.which("dovecot", path="/usr/sbin:/usr/bin") is None:
            install("dovecot-imapd", "dovecot-lmtpd")
        if os.geteuid() != 0:
            raise Missing("dovecot: needs root to start")
        self.name = f"dovecot ({mail_format})"
        self.folder = folder
        self.ports = Ports(lmtp=free_port(), imap=free_port(), imaps=free_port())
        user, group = "nobody", "nogroup"
        (folder / "mail").mkdir(parents=True)
        os.chown(folder / "mail", pwd.getpwnam(user).pw_uid, -1)
        certificate, key = _certificate(folder)
        config = folder / "dovecot.conf"
        config.write_text(
            CONFIG.format(
                folder=folder,
                certificate=certificate,
                key=key,
                format=mail_format,
                user=user,
                group=group,
                password=PASSWORD,
                workers=workers,
                lmtp=self.ports.lmtp,
                imap=self.ports.imap,
                imaps=self.ports.imaps,
            )
        )
        program = shutil.which("dovecot", path="/usr/sbin:/usr/bin") or "/usr/sbin/dovecot"
        self._process = subprocess.Popen([program, "-F", "-c", str(config)], stderr=subprocess.DEVNULL)
        wait_for_port(self.ports.lmtp)
        wait_for_port(self.ports.imap)

    def pids(self) -> list[int]:
        return ProcessTree(self._process.pid).pids()

    def stop(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(20)


def _certificate(folder: Path) -> tuple[Path, Path]:
    certificate, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "30",
            "-subj",
            "/CN=localhost",
            "-keyout",
            str(key),
            "-out",
            str(certificate),
        ],
        check=True,
        capture_output=True,
    )
    return certificate, key
