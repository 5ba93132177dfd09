"""Settings: one table (`tree.py`), read from TOML with every error named at once (`load.py`), and written out as the
commented file and the docs page (`render.py`). Nothing here knows what a setting is for."""

from rookery.base.config.kinds import Endpoint, Kind, ListenAddress, Network
from rookery.base.config.load import Problem, load, parse
from rookery.base.config.tree import SETTINGS, Config, Setting, differences

__all__ = [
    "SETTINGS",
    "Config",
    "Endpoint",
    "Kind",
    "ListenAddress",
    "Network",
    "Problem",
    "Setting",
    "differences",
    "load",
    "parse",
]
