"""What a cluster to try prints before `ready`: what runs, and commands that work as they stand, in their order."""

from collections.abc import Mapping

from rookery.base.config import Config
from rookery.base.members import roles_text
from rookery.management.client import Client
from rookery.management.operations.backends import account_host
from rookery.management.operations.check import ports
from rookery.management.trial.accounts import address_of
from rookery.management.trial.layout import Planned
from rookery.management.trial.making import Making


def advice(making: Making, passwords: Mapping[str, str], program: str) -> str:
    """`program`: how the reader calls `rookery`."""
    pages = [_what_runs(making, passwords), _everybody(making, passwords, program)]
    if making.layout.backends:
        pages.append(_dynamic_pool(making, passwords, program))
    pages += [_when_nodes_die(making, passwords, program), _the_end(making)]
    return "\n".join(pages)


def _config(making: Making) -> Config:
    return Client(making.site(making.layout.first).folder).config


def _rookery(making: Making, program: str, node: Planned) -> str:
    return f"{program} --site {making.site(node).folder}"


def _first_user(making: Making) -> str:
    return address_of(making.layout.first.users[0])


def _inbox(host: str, port: int, address: str, passwords: Mapping[str, str]) -> str:
    return f"'imaps://{host}:{port}/INBOX;MAILINDEX=1' --user {address}:{passwords[address]}"


def _what_runs(making: Making, passwords: Mapping[str, str]) -> str:
    layout, config = making.layout, _config(making)
    open_ports = ports(config)
    rows = []
    for node in layout.nodes:
        backends = layout.backends if node is layout.first else {}
        rows += [(name, address, "a backend of the dynamic pool") for name, address in backends.items()]
        if not backends:
            kind = f"static pool, {', '.join(node.users)}" if node.users else roles_text(node.roles)
            rows.append((node.name, node.address, kind))
    nodes = "\n".join(f"  {name:5} {address:12} {kind}" for name, address, kind in rows)
    accounts = "\n".join(f"  {address:19} password {password}" for address, password in passwords.items())
    where = "a PostgreSQL server with the directory and the dynamic pool" if layout.shared else "without PostgreSQL"
    return f"""\
A cluster in {making.folder}, on loopback only, {where}. Clients come to the frontends,
mail to the mail exchanger; neither keeps anything worth stealing.

Nodes (SMTP {open_ports["smtp"]}, submission {open_ports["submission"]}, IMAP {open_ports["imap"]}, IMAPS {open_ports["imaps"]}, the cluster port {making.port("cluster")})
{nodes}

Accounts
{accounts}
"""  # noqa: E501


def _everybody(making: Making, passwords: Mapping[str, str], program: str) -> str:
    layout, open_ports = making.layout, ports(_config(making))
    rookery = _rookery(making, program, layout.first)
    front, other = (node.address for node in layout.frontends)
    reads = "\n".join(f"  curl -sk {_inbox(front, open_ports['imaps'], one, passwords)}" for one in passwords)
    first, last = next(iter(passwords)), list(passwords)[-1]
    send = (
        f"swaks --server {other} --port {open_ports['submission']} --tls --auth-user {first}"
        f" --auth-password {passwords[first]} --from {first} --to {last}"
    )
    return f"""\
Everybody's mail through one frontend, and a letter through the other
{reads}
  {send}

How it is
  {rookery} node list
  {rookery} pool list
  {rookery} status
  {rookery} health
  {_rookery(making, program, layout.frontends[0])} health
  curl -s http://{layout.frontends[0].address}:{open_ports["http"]}/metrics
"""


def _dynamic_pool(making: Making, passwords: Mapping[str, str], program: str) -> str:
    backends, open_ports = making.layout.backends, ports(_config(making))
    alice = _first_user(making)
    site = making.site(making.layout.first)
    host = Client(site.folder).call(account_host, address=alice).host or next(iter(backends))
    rookery, one = _rookery(making, program, making.layout.first), f"{site.folder} [s]erve --backend {host}"
    front = making.layout.frontends[0].address
    inbox = _inbox(front, open_ports["imaps"], alice, passwords)
    return f"""\
Kill the host of {alice}, {host}, and open the mailbox again: another backend has it, and `serve` starts another {host}
  {rookery} account host {alice}
  pkill -KILL -f '{one}'
  time until curl -sk {inbox}; do sleep 0.05; done
  {rookery} account host {alice}

Stop a backend for a while: its accounts go to whoever is asked for them, and the woken one hosts them no more
  pkill -STOP -f '{one}'
  {rookery} backend list
  pkill -CONT -f '{one}'

Drain a backend, for an upgrade say, and let it host again
  {rookery} backend drain b3
  {rookery} backend list
  {rookery} backend undrain b3
"""


def _when_nodes_die(making: Making, passwords: Mapping[str, str], program: str) -> str:
    layout, open_ports = making.layout, ports(_config(making))
    alice = _first_user(making)
    front, other = layout.frontends
    inbox = _inbox(front.address, open_ports["imaps"], alice, passwords)
    there = _inbox(other.address, open_ports["imaps"], alice, passwords)
    directory = next(node for node in layout.others if node.name == "d2")
    rookery = _rookery(making, program, layout.first)
    desk = f"{layout.first.address}:{making.port('join')}"
    third = (
        f'node join "$({rookery} node add f3 --role frontend --address {desk})" --directory'
        f" {directory.address}:{making.port('cluster')} --hostname f3.example.test --listen 127.0.0.43"
        f" --port-offset {making.port_offset}"
    )
    return f"""\
Kill a directory node, and a frontend: the others go on, and both are started again
  pkill -KILL -f '{making.site(directory).folder} [s]erve'
  time until curl -sk {inbox}; do sleep 0.05; done
  pkill -KILL -f '{making.site(front).folder} [s]erve'
  time until curl -sk {there}; do sleep 0.05; done

A third frontend, as an administrator adds one (`serve` it in another window, if you like); and when it is stolen
  {program} --site {making.folder}/f3 {third}
  {rookery} node revoke f3
  {rookery} node list
"""


def _the_end(making: Making) -> str:
    return f"""\
Each node's log is rookery.log in its folder. Ctrl-C ends it all; `rm -r {making.folder}` forgets it.
"""
