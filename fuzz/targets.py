"""All targets by name."""

from . import targets_base, targets_cluster, targets_formats, targets_imap, targets_wire
from .target import Target

TARGETS: dict[str, Target] = {
    target.name: target
    for group in (targets_imap, targets_formats, targets_wire, targets_cluster, targets_base)
    for target in group.TARGETS
}
