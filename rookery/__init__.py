"""Rookery: a mail and groupware cluster. `docs/tour.md` is the five-minute way in."""

__version__ = "0.1.0"
