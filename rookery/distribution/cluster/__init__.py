"""Who belongs to a cluster: its own certificate authority, the certificates of its nodes, and how a node joins.

The rows that go with it (members, join tokens, certificates, authorities) are in the directory.
"""
