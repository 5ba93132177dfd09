"""The durable queue of mail: what was accepted, for whom, and what became of each recipient.

    ids       the ids of messages: twelve characters that rise with time
    values    what goes in and comes out
    schema    the tables
    rules     accept, claim, settle: set-wise functions over a transaction
    admin     hold, release, retry, remove, list, show, trace
    bodies    the octets: which are in memory, which segments are dead
    spool     the one object that others hold
    opening   a spool in a folder of this machine
    shared    a spool on PostgreSQL, for several nodes
    incarnations  who claims, who has ended, and what becomes of their claims
    membership  this node among them

The spool decides nothing about where mail goes or when it is tried again; that is the queue's.
"""
