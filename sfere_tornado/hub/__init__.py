"""One of each part, wired: :mod:`.hub`. Beside it what it does: :mod:`.departures`, :mod:`.watch`, :mod:`.stopping`.

This is the only room with a timer, :mod:`.alarm`.
"""

from __future__ import annotations

from .hub import MAX_CHAINS, Hub

__all__ = ("MAX_CHAINS", "Hub")
