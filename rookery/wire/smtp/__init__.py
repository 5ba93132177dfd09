"""The server's side of SMTP, submission and LMTP without socket, clock or queue.

    engine      states, commands, replies of the protocol itself
    states      the states of a connection and its limits
    events      what the session is told
    commands    their arguments
    offers      what EHLO and LHLO announce, and thereby what is understood
    paths       MAIL and RCPT paths
    parameters  what may follow them
    body        DATA and BDAT: octets of a message out of octets of the wire
    message     one message as it comes in
    replies     the fixed replies of the protocol

RFC 5321 (SMTP), 1870 (SIZE), 2033 (LMTP), 2034 and 3463 (enhanced codes), 2920 (PIPELINING), 3030 (CHUNKING),
3207 (STARTTLS), 3461 (DSN), 4954 (AUTH), 6152 (8BITMIME), 6531 (SMTPUTF8).
"""
