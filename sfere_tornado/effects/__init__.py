"""The library's own effects and interceptors, ready to be merged with an application's.

:mod:`.sse` writes to whatever connection a dispatch has; :mod:`.connections` finds and keeps connections by key.
"""

from __future__ import annotations

__all__ = ()
