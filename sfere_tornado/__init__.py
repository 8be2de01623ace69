"""Open Server-Sent Events connections by key, for Tornado: effects, interceptors, presence.

Each public name is loaded on first use. Importing the package loads no other module of it, and not
Tornado.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .config import HubConfig as HubConfig
    from .config import LimitsConfig as LimitsConfig
    from .config import StoreConfig as StoreConfig
    from .config import StreamConfig as StreamConfig
    from .datastar.actions import Datastar as Datastar
    from .datastar.actions import execute_script as execute_script
    from .datastar.actions import patch_elements as patch_elements
    from .datastar.actions import patch_elements_seq as patch_elements_seq
    from .datastar.actions import patch_signals as patch_signals
    from .datastar.actions import remove_elements as remove_elements
    from .datastar.handlers import DatastarHandler as DatastarHandler
    from .datastar.handlers import DatastarMixin as DatastarMixin
    from .dispatch import Context as Context
    from .dispatch import Dispatcher as Dispatcher
    from .dispatch import Registry as Registry
    from .dispatch import fail_fast as fail_fast
    from .effects.keyed import broadcast as broadcast
    from .effects.keyed import with_connection as with_connection
    from .effects.streams import close_sse as close_sse
    from .effects.streams import send as send
    from .effects.streams import sse_closed as sse_closed
    from .effects.streams import target_of as target_of
    from .errors import SfereError as SfereError
    from .keys import ANY as ANY
    from .keys import DEFAULT_SCOPE as DEFAULT_SCOPE
    from .keys import Key as Key
    from .keys import Pattern as Pattern
    from .presence.effects import hide as hide
    from .presence.effects import leave as leave
    from .presence.effects import show as show
    from .presence.effects import update_meta as update_meta
    from .stores import ExpiringStore as ExpiringStore
    from .stores import MemoryStore as MemoryStore
    from .streams.connection import Connection as Connection
    from .streams.fanout import Fanout as Fanout
    from .web.handlers import SSEHandler as SSEHandler
    from .web.handlers import SSEMixin as SSEMixin
    from .web.hub import Hub as Hub
    from .web.requests import InterceptorMixin as InterceptorMixin
    from .web.signs import BeatHandler as BeatHandler
    from .web.signs import ScriptHandler as ScriptHandler
    from .web.signs import SignHandler as SignHandler
    from .wire.event_stream import Event as Event

#: The version; setup.py reads this line.
__version__ = "0.1.0.dev0"

#: The public names of each module.
_NAMES = {
    "config": ("HubConfig", "LimitsConfig", "StoreConfig", "StreamConfig"),
    "streams.connection": ("Connection",),
    "dispatch": ("Context", "Dispatcher", "Registry", "fail_fast"),
    "errors": ("SfereError",),
    "wire.event_stream": ("Event",),
    "streams.fanout": ("Fanout",),
    "keys": ("ANY", "DEFAULT_SCOPE", "Key", "Pattern"),
    "effects.keyed": ("broadcast", "with_connection"),
    "datastar.actions": (
        "Datastar",
        "execute_script",
        "patch_elements",
        "patch_elements_seq",
        "patch_signals",
        "remove_elements",
    ),
    "presence.effects": ("hide", "leave", "show", "update_meta"),
    "effects.streams": ("close_sse", "send", "sse_closed", "target_of"),
    "stores": ("ExpiringStore", "MemoryStore"),
    "datastar.handlers": ("DatastarHandler", "DatastarMixin"),
    "web.signs": ("BeatHandler", "ScriptHandler", "SignHandler"),
    "web.requests": ("InterceptorMixin",),
    "web.hub": ("Hub",),
    "web.handlers": ("SSEHandler", "SSEMixin"),
}
_MODULE_OF = {name: module for module, names in _NAMES.items() for name in names}

__all__ = ("__version__", *sorted(_MODULE_OF))  # noqa: PLE0604  # all of them are strings


def __getattr__(name: str) -> Any:
    module = _MODULE_OF.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{module}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
