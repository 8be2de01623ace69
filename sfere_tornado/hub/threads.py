"""The way from other threads into the event loop's."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from ..errors import HubError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..dispatch import Dispatched
    from .hub import Hub

__all__ = ("dispatch_soon",)


def dispatch_soon(
    hub: Hub,
    loop: asyncio.AbstractEventLoop,
    effects: Any,
    system: Mapping[str, Any] | None,
    dispatch_data: Mapping[str, Any] | None,
) -> Future[Dispatched]:
    """Dispatch in the loop's thread; see :meth:`Hub.dispatch_threadsafe`."""
    told: Future[Dispatched] = Future()

    def dispatch() -> None:
        if not told.set_running_or_notify_cancel():
            return
        try:
            dispatched = hub.dispatch(effects, system=system, dispatch_data=dispatch_data)
        except Exception as error:
            told.set_exception(error)
        else:
            hub.spawn(_tell_later(dispatched, told))

    try:
        loop.call_soon_threadsafe(dispatch)
    except RuntimeError as error:
        # Nobody holds the loop while another thread looks at it.
        raise HubError("the hub's event loop was closed meanwhile, so that there is nowhere to dispatch") from error
    return told


async def _tell_later(dispatched: Dispatched, told: Future[Dispatched]) -> None:
    """Hand a dispatch to another thread once everything in it is finished."""
    try:
        await dispatched
    except asyncio.CancelledError:
        # Somebody in another thread may be waiting for it, and would wait for ever.
        told.set_exception(HubError("the hub was stopped before the dispatch had come to its end"))
        raise
    except Exception as error:
        # A result that goes on by itself, and fails in that.
        told.set_exception(error)
    else:
        told.set_result(dispatched)
