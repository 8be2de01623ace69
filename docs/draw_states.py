"""Draw the states of a connection from their table: ``python docs/draw_states.py``.

Each transition of the table is an arrow. A signal that leads from more than :data:`MANY` of the
states in the frame to one state is one arrow from the frame.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

PICTURE: Final = Path(__file__).parent / "pictures" / "connection-states.svg"

sys.path.insert(0, str(Path(__file__).parent.parent))

from sfere_tornado.streams.states import TRANSITIONS, Signal, State  # noqa: E402  # the path above

#: States from which one signal leads to the same state, above which one arrow stands for all.
MANY: Final = 2

#: Where the middle of each state is, in pixels.
PLACES: Final = {
    State.OPENING: (100, 85),
    State.GREETING: (300, 85),
    State.OPEN: (500, 85),
    State.BUSY: (700, 85),
    State.OPENING_PAUSED: (100, 265),
    State.GREETING_PAUSED: (300, 265),
    State.OPEN_PAUSED: (500, 265),
    State.BUSY_PAUSED: (700, 265),
    State.GONE: (590, 425),
    State.FULL: (736, 425),
    State.ENDED: (100, 425),
}

#: The frame around the states of a stream that has neither failed nor ended.
FRAME: Final = (10, 35, 800, 320)
FRAMED: Final = frozenset(state for state, (_, y) in PLACES.items() if y < FRAME[3])

#: Half the size of a state's box.
HALF: Final = (66, 24)

STYLE: Final = """
  text { font: 14px sans-serif; text-anchor: middle; fill: #1c2733 }
  .signal { font-size: 12px; fill: #3a4a5a; paint-order: stroke; stroke: #fff; stroke-width: 5px }
  rect { fill: #eef4fb; stroke: #35618e; stroke-width: 1.5 }
  .waits rect { fill: #fff7e6; stroke: #9a6a00 }
  .over rect { fill: #f6eaea; stroke: #95403f }
  .paper { fill: #fff; stroke: none }
  .frame { fill: none; stroke: #98a6b5; stroke-dasharray: 5 4 }
  path { fill: none; stroke: #5b6b7b; stroke-width: 1.4; marker-end: url(#tip) }
"""

#: The tip of an arrow.
TIP: Final = """<marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8"
  markerHeight="8" orient="auto"><polygon points="0,0 8,4 0,8" fill="#5b6b7b"/></marker>"""


def arrows() -> Iterator[tuple[State | None, State, str]]:
    """Yield each arrow: where it begins (None: at the frame), where it ends, and its words."""
    sources: dict[tuple[Signal, State], list[State]] = defaultdict(list)
    for (before, signal), after in TRANSITIONS.items():
        sources[signal, after].append(before)
    words: dict[tuple[State | None, State], list[str]] = defaultdict(list)
    for (signal, after), befores in sources.items():
        framed = [before for before in befores if before in FRAMED]
        single = befores
        if len(framed) > MANY:
            missing = [state for state in State if state in FRAMED and state not in framed]
            but = f", not from {', '.join(state.value for state in missing)}" if missing else ""
            words[None, after].append(signal.value + but)
            single = [before for before in befores if before not in FRAMED]
        for before in single:
            words[before, after].append(signal.value)
    for (start, end), said in words.items():
        yield start, end, " / ".join(said)


def path_of(start: State | None, end: State, *, both: bool) -> tuple[str, tuple[float, float]]:
    """Return the path of an arrow, and where its words stand."""
    x2, y2 = PLACES[end]
    if start is None:
        return f"M{x2},{FRAME[3]} V{y2 - HALF[1] - 4}", (x2, (FRAME[3] + y2 - HALF[1]) / 2 + 4)
    x1, y1 = PLACES[start]
    # Two arrows between the same states go side by side.
    aside = 17 if both else 0
    if y1 == y2 and any(y == y1 and min(x1, x2) < x < max(x1, x2) for x, y in PLACES.values()):
        below = y1 + HALF[1] + 20
        path = f"M{x1},{y1 + HALF[1]} V{below} H{x2} V{y2 + HALF[1] + 4}"
        return path, ((x1 + x2) / 2, below + 4)
    if y1 == y2:
        way = 1 if x2 > x1 else -1
        y = y1 - way * aside / 2
        begin, stop = x1 + way * HALF[0], x2 - way * (HALF[0] + 4)
        return f"M{begin},{y} H{stop}", (
            (begin + stop) / 2,
            y - 6 if way > 0 or not both else y + 16,
        )
    if x1 == x2:
        way = 1 if y2 > y1 else -1
        x = x1 + way * 1.6 * aside
        begin, stop = y1 + way * HALF[1], y2 - way * (HALF[1] + 4)
        return f"M{x},{begin} V{stop}", (x, (begin + stop) / 2 + way * 22)
    begin, stop = x1 + HALF[0] - 6, x2
    top, bottom = y1 + HALF[1], y2 - HALF[1] - 4
    return f"M{begin},{top} L{stop},{bottom}", (stop, bottom - 50)


def draw() -> str:
    """Return the picture as SVG."""
    found = list(arrows())
    pairs = {(start, end) for start, end, _ in found}
    left, top, right, bottom = FRAME
    lines = [
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 810 490" role="img">',
        "<title>The states of a connection</title>",
        f"<style>{STYLE}</style>",
        f"<defs>{TIP}</defs>",
        '<rect class="paper" width="810" height="490"/>',
        f'<rect class="frame" x="{left}" y="{top}" width="{right - left}" height="{bottom - top}"/>',
    ]
    labels = []
    for start, end, said in found:
        path, (x, y) = path_of(start, end, both=(end, start) in pairs)
        lines.append(f'<path d="{path}"/>')
        labels.append(f'<text class="signal" x="{x:g}" y="{y:g}">{escape(said)}</text>')
    for state, (x, y) in PLACES.items():
        kind = "over" if state not in FRAMED else "open" if state is State.OPEN else "waits"
        lines.append(
            f'<g class="{kind}"><rect x="{x - HALF[0]}" y="{y - HALF[1]}" width="{2 * HALF[0]}"'
            f' height="{2 * HALF[1]}" rx="8"/><text x="{x}" y="{y + 5}">{state.value}</text></g>'
        )
    return "\n".join([*lines, *labels, "</svg>", ""])


if __name__ == "__main__":
    PICTURE.write_text(draw(), encoding="utf-8")
    sys.stdout.write(f"{PICTURE}: {len(State)} states, {len(TRANSITIONS)} transitions\n")
