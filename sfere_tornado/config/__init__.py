"""Every setting of a hub, as plain frozen records, and the YAML document they are read from.

:mod:`.settings` and :mod:`.features` have the settings with their defaults, ranges and reasons;
:mod:`.fields` has the checks of a record; :mod:`.values` has how one value is written and what it
may be; :mod:`.document` reads a document strictly.

Law: **a record is right or does not exist.** The same rules hold for a value from a document and
for one from Python. An error about a document also names the line.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .features import GraceConfig, HistoryConfig, KeepConfig, PresenceConfig
from .settings import CategoryRules, HubConfig, LimitsConfig, StoreConfig, StreamConfig

__all__ = (
    "CategoryRules",
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

if TYPE_CHECKING:
    from .document import load as load
    from .document import parse as parse


def __getattr__(name: str) -> object:
    # On first use: the stores use records of settings, and must not load PyYAML.
    if name in ("load", "parse"):
        from . import document  # noqa: PLC0415  # PyYAML is loaded here, on first use

        return getattr(document, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
