"""SASL server engines (RFC 4422): PLAIN, LOGIN, SCRAM-SHA-256. Pure functions of bytes: no socket, clock or directory.

steps.py     what an engine answers
plain.py     PLAIN (RFC 4616) and LOGIN
scram.py     SCRAM-SHA-256 (RFC 5802, RFC 7677)
saslprep.py  preparing names and passwords (RFC 4013)
"""
