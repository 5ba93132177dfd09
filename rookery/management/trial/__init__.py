"""What `make cluster` and `make cluster-static` run: a whole cluster on loopback addresses, for trying only.

layout.py     which nodes there are, and where
postgres.py   a PostgreSQL server of its own, for as long as it is used
making.py     the sites of the nodes: founded, invited, joined
accounts.py   users, and a first message for each
advice.py     what to try, as commands that work as they stand
run.py        all of it, in the foreground
"""
