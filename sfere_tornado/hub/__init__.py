"""One of each part, wired: :mod:`.hub`. Beside it :mod:`.departures`, :mod:`.watch`, :mod:`.draining`.

This is the only room with a timer, :mod:`.alarm`.
"""

from __future__ import annotations

from .chains import MAX_CHAINS
from .hub import Hub

__all__ = ("MAX_CHAINS", "Hub")
