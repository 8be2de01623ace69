"""Who is here (:mod:`.presence`), what happened (:mod:`.facts`) and what changed (:mod:`.records`).

Below them: the rules of joining and leaving (:mod:`.rules`), the members by key (:mod:`.members`),
the streams of each (:mod:`.states`), and the ends of waits (:mod:`.waits`). On top: the events
(:mod:`.events`), the feed that tells the changes (:mod:`.feed`), and the effects (:mod:`.effects`).
"""

from __future__ import annotations

from .presence import EXPIRE_SLICE, MAX_MEMBERS, Presence
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
    diff,
)
from .states import MAX_METAS

__all__ = (
    "EXPIRE_SLICE",
    "MAX_DATA_SIZE",
    "MAX_LABEL",
    "MAX_MEMBERS",
    "MAX_METAS",
    "Change",
    "Departure",
    "Diff",
    "Grace",
    "ChangeKind",
    "Member",
    "Meta",
    "Presence",
    "DepartureReason",
    "diff",
)
