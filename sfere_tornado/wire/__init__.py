"""The bytes on the wire: event streams, chunks, compression. Pure: no I/O, no event loop."""

from __future__ import annotations

__all__ = ()
