"""Who is here (:mod:`.presence`), what happened (:mod:`.facts`) and what changed (:mod:`.records`).

Below them: the rules of joining and leaving (:mod:`.rules`), the members by key (:mod:`.members`),
the streams of each (:mod:`.states`), and the ends of waits (:mod:`.waits`). On top: the events
(:mod:`.events`), what waits to be sent of one list (:mod:`.gathering`), the announcer that sends it
(:mod:`.announcer`), as pages where it is large (:mod:`.pager`), the feed that records and calls back (:mod:`.feed`), and the effects
(:mod:`.effects`).
"""

from __future__ import annotations

from .presence import EXPIRE_SLICE, MAX_MEMBERS, PAGE_SIZE, Presence
from .records import (
    MAX_DATA_SIZE,
    MAX_LABEL,
    Change,
    ChangeKind,
    Departure,
    DepartureReason,
    Diff,
    Grace,
    Member,
    Meta,
    Page,
    diff,
)
from .states import MAX_METAS

__all__ = (
    "EXPIRE_SLICE",
    "MAX_DATA_SIZE",
    "MAX_LABEL",
    "MAX_MEMBERS",
    "MAX_METAS",
    "PAGE_SIZE",
    "Change",
    "Departure",
    "Diff",
    "Grace",
    "ChangeKind",
    "Member",
    "Meta",
    "Page",
    "Presence",
    "DepartureReason",
    "diff",
)
