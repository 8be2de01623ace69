"""What knows Tornado: requests as dispatches, event streams on request handlers."""

from __future__ import annotations

__all__ = ()
