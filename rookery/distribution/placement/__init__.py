"""Which backend of a dynamic pool hosts an account: one at a time, and it stays true.

    values     what goes in and comes out; `Pool`, what is asked of the pool's database
    watch      when another backend is dead: no clock, no socket
    heartbeat  this backend's incarnation, its beats, what follows from the answers
    placement  account by account: claimed, hosted, released; what `access` asks
    rendezvous whom to ask first for an account
    static     the same questions where one backend has all accounts
    pools      the same questions where some accounts are in other pools
    beats      the heartbeat's statements, on a connection of their own
    claims     the claims' statements, on another
    database   both, each on a thread of its own, as a `Pool`
    worker     such a thread

An account is claimed by whoever is asked for it when nobody hosts it; nothing is inherited, not even from an earlier
incarnation of the same backend. The fence in every write batch (storage) is what protects the data. Beats and deaths
decide how long an account of a dead host waits, and how old a read may be.
"""
