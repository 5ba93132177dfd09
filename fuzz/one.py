"""Fuzzes one target in this process: `python -m fuzz.one NAME [libFuzzer options] [corpus]`. Started by `fuzz.run`."""

import sys

import atheris

with atheris.instrument_imports(include=["rookery", "fuzz.targets"]):
    from fuzz.targets import TARGETS

check = TARGETS[sys.argv.pop(1)].check
atheris.Setup(sys.argv, check)
atheris.Fuzz()
