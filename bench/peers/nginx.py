"""nginx as a mail proxy before a server of ours: who logs in is passed on as a page of its own HTTP server says."""

import signal
import subprocess
from pathlib import Path

from bench.peers.base import Missing, Ports, ProcessTree, free_port, install, wait_for_port

MODULE = Path("/usr/lib/nginx/modules/ngx_mail_module.so")
CONFIG = """
load_module {module};
user root;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
events {{ worker_connections 25000; }}
http {{
  access_log off;
  server {{
    listen 127.0.0.1:{http};
    location / {{
      add_header Auth-Status OK;
      add_header Auth-Server 127.0.0.1;
      add_header Auth-Port {backend};
      return 200;
    }}
  }}
}}
mail {{
  auth_http 127.0.0.1:{http}/;
  proxy_pass_error_message on;
  ssl_certificate {certificate};
  ssl_certificate_key {key};
  imap_capabilities IMAP4rev1 LITERAL+ IDLE;
  server {{ listen 127.0.0.1:{imap}; protocol imap; }}
  server {{ listen 127.0.0.1:{imaps} ssl; protocol imap; }}
}}
"""


class Nginx:
    """One worker, as one frontend is one process. Behind it the line is in clear: it has no TLS to mail servers."""

    name = "nginx"

    def __init__(self, folder: Path, *, backend: int, certificate: Path, key: Path) -> None:
        """`backend`: the port of an IMAP server on loopback."""
        if not MODULE.exists():
            install("nginx-light", "libnginx-mod-mail")
        if not MODULE.exists():
            raise Missing("nginx has no mail module here")
        folder.mkdir(parents=True)
        self.ports = Ports(imap=free_port(), imaps=free_port())
        text = CONFIG.format(
            module=MODULE, folder=folder, http=free_port(), backend=backend, imap=self.ports.imap,
            imaps=self.ports.imaps, certificate=certificate, key=key,
        )  # fmt: skip
        (folder / "nginx.conf").write_text(text)
        self._process = subprocess.Popen(
            ["/usr/sbin/nginx", "-c", str(folder / "nginx.conf"), "-g", "daemon off;"],
            stdout=subprocess.DEVNULL,
            stderr=(folder / "out.log").open("wb"),
        )
        wait_for_port(self.ports.imap)

    def pids(self) -> list[int]:
        return ProcessTree(self._process.pid).pids()

    def stop(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(20)
