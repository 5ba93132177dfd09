"""What a process says of itself, and how much of that is believed: whoever shows it counts and adds, and makes dates
of numbers, and a frontend may be a stolen one.
"""

from typing import Annotated

import msgspec
from msgspec import Meta

Name = Annotated[str, Meta(max_length=64)]
Count = Annotated[int, Meta(ge=0)]
Moment = Annotated[float, Meta(ge=0, le=1 << 36)]  # seconds UTC, which dates can express; no NaN
Seconds = Annotated[float, Meta(ge=-1, le=1 << 36)]

LINKS_TOLD = 500  # nodes with which a process has links, in one answer


class LinkFigures(msgspec.Struct, frozen=True, array_like=True):
    """All links of a process with one node. `heard`: seconds since its last word. `up`: there is one now."""

    node: Name
    up: bool
    streams: Count
    heard: Seconds


class Figures(msgspec.Struct, frozen=True, array_like=True, tag="figures"):
    """To an AskStatus, of one process. `ends`: of its certificate, `started`: both seconds UTC. `clients`: connections
    of users, `sessions`: those that other nodes brought. `change`: the last of the directory that it has seen.

    A backend has `pool`, and may be `dynamic`; then `incarnation`, and `epoch`, the highest under which it holds an
    account. `accounts`: open here. A copy of the directory is so many changes `behind`, as it knows; `primary`: seconds
    since that answered last, -1.0: not since the start.
    """

    node: Name
    backend: Name
    release: Name
    roles: Annotated[list[Name], Meta(max_length=64)]
    ends: Annotated[int, Meta(ge=0, le=1 << 36)]
    started: Moment
    links: Annotated[list[LinkFigures], Meta(max_length=LINKS_TOLD)]
    clients: Count = 0
    sessions: Count = 0
    change: Count = 0
    pool: Name = ""
    dynamic: bool = False
    incarnation: Count = 0
    draining: bool = False
    accounts: Count = 0
    epoch: Count = 0
    copy: bool = False
    behind: Count = 0
    primary: Seconds = 0.0
