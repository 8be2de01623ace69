"""Tools for tests, of applications and of this package; nothing here needs pytest.

:mod:`.clock` is a clock that stands still, :mod:`.stream_client` a client of event streams,
:mod:`.parser` reads an event stream, :mod:`.recording` is a transport that records, and
:mod:`.contracts` has the tests that every store must pass.
"""

from __future__ import annotations

from .clock import FakeClock
from .contracts.store import StoreContract
from .stream_client import StreamClient, StreamEnded

__all__ = ("FakeClock", "StoreContract", "StreamClient", "StreamEnded")
