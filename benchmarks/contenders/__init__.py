"""Servers that are measured against each other, each in a process of its own.

All have the same streams and send the same events. Each listens on a free port of 127.0.0.1 for
HTTP, and on the UDP port of the same number for its orders, and prints the number. A datagram with
a number orders the server to dispatch that many events, in one turn, to every stream of
``/events``; orders over UDP cost every server the same, and next to nothing. A datagram ``?`` is
answered with what the server has open. A server ends when its standard input does.

The streams of ``/tokens`` get nothing of that: each is fed by a task of its own, in the pace that
the datagram ``40/s`` sets for all of them; ``0/s`` makes them wait. The servers in Python answer
``late`` with the milliseconds by which timers of their loop were late since the last such order.
"""
