"""One plain function per administrative act: `async def add_account(parts, address, ...) -> AccountView`.

An operation takes the opened parts of a site and typed arguments, returns typed values, and raises RookeryError. It
neither parses nor prints: the command line, the control socket and whatever comes later call the same functions.

registry.py   the table of operations, and how arguments and results are typed on a wire
"""
