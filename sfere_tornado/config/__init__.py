"""Every setting of a hub, as plain frozen records, and the YAML document they are read from.

:mod:`.settings` and :mod:`.features` have the settings with their defaults, ranges and reasons;
:mod:`.fields` has the checks of a record; :mod:`.values` has how one value is written and what it
may be; :mod:`.document` reads a document strictly.

Law: **a record is right or does not exist.** The same rules hold for a value from a document and
for one from Python. An error about a document also names the line.
"""

from __future__ import annotations

from .document import load, parse
from .features import GraceConfig, HistoryConfig, KeepConfig, PresenceConfig
from .settings import CategoryConfig, HubConfig, LimitsConfig, StoreConfig, StreamConfig

__all__ = (
    "CategoryConfig",
    "GraceConfig",
    "HistoryConfig",
    "HubConfig",
    "KeepConfig",
    "LimitsConfig",
    "PresenceConfig",
    "StoreConfig",
    "StreamConfig",
    "load",
    "parse",
)
