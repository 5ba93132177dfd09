"""Who may log in: password hashes, SCRAM keys, remembered checks, limits on failed logins.

schemes.py, shacrypt.py, md5crypt.py   password hashes with Dovecot's {SCHEME} prefixes
hasher.py         the bounded pool of threads that hashes
remembered.py     successful checks, in memory under a keyed hash
abuse.py          budgets of failed logins per network and per account
authenticator.py  the login itself
"""
