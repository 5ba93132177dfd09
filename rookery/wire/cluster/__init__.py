"""The cluster port: what nodes say to each other, many streams and calls over one connection. Ours; no standard.

`frames` is how octets are cut, `values` what the frames carry, `events` what is heard, `speaking` what an end knows and
says, `engine` the whole.

After HELLO each way either side may open streams (OPEN, DATA, END, URGE, RESET, REFER; a window each) and make calls
(CALL, and one ANSWER or RESET). CONTROL is a signal that may be lost, PING shows that the other end lives, and after
GOODBYE nothing new begins.
"""
