"""Open Server-Sent Events connections by key, for Tornado: effects, interceptors, and "brian left" at once.

The public names, each loaded on first use: importing the package loads nothing else of it, and no Tornado.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .config import HubConfig as HubConfig
    from .config import LimitsConfig as LimitsConfig
    from .config import StoreConfig as StoreConfig
    from .config import StreamConfig as StreamConfig
    from .connection import Connection as Connection
    from .dispatch import Context as Context
    from .dispatch import Dispatcher as Dispatcher
    from .dispatch import Registry as Registry
    from .dispatch import fail_fast as fail_fast
    from .errors import SfereError as SfereError
    from .event_stream import Event as Event
    from .fanout import Fanout as Fanout
    from .hub import Hub as Hub
    from .keys import ANY as ANY
    from .keys import DEFAULT_SCOPE as DEFAULT_SCOPE
    from .keys import Key as Key
    from .keys import Pattern as Pattern
    from .registries.connections import broadcast as broadcast
    from .registries.connections import with_connection as with_connection
    from .registries.datastar import datastar as datastar
    from .registries.datastar import execute_script as execute_script
    from .registries.datastar import patch_elements as patch_elements
    from .registries.datastar import patch_elements_seq as patch_elements_seq
    from .registries.datastar import patch_signals as patch_signals
    from .registries.datastar import remove_elements as remove_elements
    from .registries.presence import hide as hide
    from .registries.presence import leave as leave
    from .registries.presence import show as show
    from .registries.presence import update_meta as update_meta
    from .registries.sse import close_sse as close_sse
    from .registries.sse import send as send
    from .registries.sse import sse_closed as sse_closed
    from .stores import ExpiringStore as ExpiringStore
    from .stores import MemoryStore as MemoryStore
    from .web.beat import BeatHandler as BeatHandler
    from .web.datastar import DatastarHandler as DatastarHandler
    from .web.datastar import DatastarMixin as DatastarMixin
    from .web.interceptors import InterceptorMixin as InterceptorMixin
    from .web.presence import ScriptHandler as ScriptHandler
    from .web.presence import SignHandler as SignHandler
    from .web.sse import SSEHandler as SSEHandler
    from .web.sse import SSEMixin as SSEMixin

__version__ = "0.1.0.dev0"

_ROOMS = {
    "config": ("HubConfig", "LimitsConfig", "StoreConfig", "StreamConfig"),
    "connection": ("Connection",),
    "dispatch": ("Context", "Dispatcher", "Registry", "fail_fast"),
    "errors": ("SfereError",),
    "event_stream": ("Event",),
    "fanout": ("Fanout",),
    "hub": ("Hub",),
    "keys": ("ANY", "DEFAULT_SCOPE", "Key", "Pattern"),
    "registries.connections": ("broadcast", "with_connection"),
    "registries.datastar": (
        "datastar",
        "execute_script",
        "patch_elements",
        "patch_elements_seq",
        "patch_signals",
        "remove_elements",
    ),
    "registries.presence": ("hide", "leave", "show", "update_meta"),
    "registries.sse": ("close_sse", "send", "sse_closed"),
    "stores": ("ExpiringStore", "MemoryStore"),
    "web.beat": ("BeatHandler",),
    "web.datastar": ("DatastarHandler", "DatastarMixin"),
    "web.presence": ("ScriptHandler", "SignHandler"),
    "web.interceptors": ("InterceptorMixin",),
    "web.sse": ("SSEHandler", "SSEMixin"),
}
_ROOM_OF = {name: room for room, names in _ROOMS.items() for name in names}

__all__ = ("__version__", *sorted(_ROOM_OF))  # noqa: PLE0604  # all of them are strings


def __getattr__(name: str) -> Any:
    room = _ROOM_OF.get(name)
    if room is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(import_module(f".{room}", __name__), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
