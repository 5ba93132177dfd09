"""Handing a message to whoever keeps or carries it next.

    outcome   what an attempt did to one recipient
    session   one connection: a stream, the sending engine, time limits
    local     our own mailboxes: LMTP over in-memory streams, always
    remote    other people's: by MX or smarthost, connections shared, destinations that fail left alone for a while
    hosts     one attempt at one destination: its hosts and addresses in turn

Nothing here knows the spool: jobs come in with a body to read, outcomes go out by a call. When to try again is the
queue's.
"""
