"""Domains, accounts, aliases, groups and credentials, in a database of their own with a change log of their own.

addresses.py   one canonical form for every address and domain
values.py      what goes in and comes out
schema.py      tables and migrations
rules_*.py     the acts, as functions over a transaction
reads.py       point reads and pages
memory.py      bounded memory over the reads
shared.py      the same on PostgreSQL, for several nodes
following.py   what other nodes change, from the change log
resolve.py     address -> accounts and outside addresses
directory.py   the Directory: all of it behind one object
pools.py       the acts on pools; administration.py has all others
"""
