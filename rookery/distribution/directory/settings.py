"""What an administrator decides of a directory."""

from dataclasses import dataclass

from rookery.base.config.tree import Placing

SCRAM_ITERATIONS = 4096  # RFC 7677 section 4; more would be paid at each SCRAM login of a telephone


@dataclass(frozen=True, slots=True)
class DirectorySettings:
    """`scram`: keep SCRAM keys. `scram_iterations`: for a new site. `default_domain` (canonical) "": the oldest one.
    `placing`: which pool has a new account."""

    scram: bool = False
    scram_iterations: int = SCRAM_ITERATIONS
    default_domain: str = ""
    placing: Placing = Placing.HERE
