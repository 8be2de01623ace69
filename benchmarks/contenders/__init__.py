"""Servers that are measured against each other: the same streams and the same events, each in a process of its own.

Each listens on a free port of 127.0.0.1 for HTTP, and on the UDP port of the same number for its orders, and prints the
number. A datagram with a number is the order to dispatch so many events, in one turn, to every stream of ``/events``;
orders over UDP cost each of them next to nothing, and the same. ``?`` is answered with what the server has open. A server ends when its
standard input does.
"""
