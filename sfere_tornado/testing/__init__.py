"""Tools for tests, of applications and of this package; nothing here needs pytest.

:mod:`.clock` is a clock that stands still, :mod:`.stream_client` a client of event streams, :mod:`.store_contract` the
tests that every store must pass.
"""

from __future__ import annotations

from .clock import FakeClock
from .contracts.store import StoreContract
from .stream_client import StreamClient, StreamEnded

__all__ = ("FakeClock", "StoreContract", "StreamClient", "StreamEnded")
