"""The store that a configuration describes."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from .expiring import ExpiringStore
from .memory import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..config import StoreConfig
    from .base import Store

__all__ = ("from_config",)


def from_config(settings: StoreConfig, timer: Callable[[], float] = time.monotonic) -> Store[Any]:
    """Return the store that a configuration describes.

    Args:
        settings: the ``store`` part of a configuration.
        timer: the clock of leases, in seconds, monotonic.
    """
    if settings.type == "memory":
        return MemoryStore(
            same_key=settings.same_key,
            maxsize=settings.maxsize,
            on_full=settings.on_full,
            categories=settings.categories,
        )
    return ExpiringStore(
        settings.ttl,
        expiry=settings.expiry,
        renewed_by=settings.renewed_by,
        timer=timer,
        same_key=settings.same_key,
        maxsize=settings.maxsize,
        on_full=settings.on_full,
        categories=settings.categories,
    )
