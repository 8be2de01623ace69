"""A client whose cable is pulled: from then on its kernel takes nothing and answers nothing, and no FIN goes out."""

import ctypes
import socket
import struct
import sys

#: Why it cannot be tried, where that is so.
MISSING = "only Linux lets a socket drop what comes in (SO_ATTACH_FILTER)"

AVAILABLE = sys.platform == "linux"

_SO_ATTACH_FILTER = 26

#: A packet filter of one instruction: take 0 bytes of each packet.
_DROP = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0))


def pull_the_cable(client):
    """Let whatever comes for a client be dropped before its TCP sees it, so that nothing is acknowledged."""
    program = struct.pack("HP", 1, ctypes.addressof(_DROP))
    client.stream.socket.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)
