"""Who is here, said once and rightly: the room (:mod:`.room`), and the records of what it says (:mod:`.records`).

Behind them, what follows from what (:mod:`.rules`), the members by key (:mod:`.roll`), each with its streams
(:mod:`.states`), and the ends of waits (:mod:`.waits`).
"""

from __future__ import annotations

from .records import MAX_DATA_SIZE, MAX_LABEL, Change, Diff, Grace, Kind, Member, Meta, Reason, diff
from .room import EXPIRE_SLICE, MAX_MEMBERS, Presence
from .states import MAX_METAS

__all__ = (
    "EXPIRE_SLICE",
    "MAX_DATA_SIZE",
    "MAX_LABEL",
    "MAX_MEMBERS",
    "MAX_METAS",
    "Change",
    "Diff",
    "Grace",
    "Kind",
    "Member",
    "Meta",
    "Presence",
    "Reason",
    "diff",
)
