"""The library's own effects and interceptors, ready to be merged with an application's.

:mod:`.streams` writes to the connection of a dispatch; :mod:`.keyed` addresses connections by key.
"""

from __future__ import annotations

__all__ = ()
