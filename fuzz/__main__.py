"""`python -m fuzz` is `python -m fuzz.run`."""

from fuzz.run import main

main()
