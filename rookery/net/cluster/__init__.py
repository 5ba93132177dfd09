"""The cluster port over sockets: mutual TLS, many streams over one connection.

`member` is who is at the other end and what it may ask, `node` what this node brings along, `stream` one stream, `link`
one connection, `links` those that we dialled, `port` those that we took.
"""
