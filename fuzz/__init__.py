"""Fuzzing of every parser: `targets*.py` say what must hold of any input, `run.py` drives them with atheris.

The same targets run for a moment under hypothesis in `tests/fuzz`, without atheris.
"""
