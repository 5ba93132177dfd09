"""SMTP and LMTP from the sending side, without sockets (RFC 5321, RFC 2033).

replies     octets -> Reply, bounded
extensions  what the peer offered at EHLO
commands    values -> command lines, and when a value cannot be one
dots        DATA's transparency, chunk by chunk
engine      the conversation: greeting, TLS, login, transactions, pipelined where the peer can
"""
