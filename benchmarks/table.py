"""Tables of ratios: what was measured, the bound beside it, and whether it holds."""

from __future__ import annotations

import sys
from statistics import median
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = (
    "FALLS_SHORT",
    "Bound",
    "Table",
    "at_least",
    "at_most",
    "in_turns",
    "middle",
    "progress",
    "ratio",
)

#: The verdict that the summary of all benchmarks looks for.
FALLS_SHORT: Final = "falls short"


class Bound(NamedTuple):
    """What a figure must be: at ``most`` or at ``least`` a value, in the figure's own unit."""

    limit: float
    most: bool
    unit: str

    def __str__(self) -> str:
        return f"{'<=' if self.most else '>='} {self.limit:g}{' ' if self.unit else ''}{self.unit}"

    def verdict(self, figure: float) -> str:
        """Return whether a figure is within the bound."""
        holds = figure <= self.limit if self.most else figure >= self.limit
        return "holds" if holds else FALLS_SHORT


def at_most(limit: float, unit: str = "x") -> Bound:
    """Return the bound of a figure that must not be larger."""
    return Bound(limit, True, unit)


def at_least(limit: float, unit: str = "x") -> Bound:
    """Return the bound of a figure that must not be smaller."""
    return Bound(limit, False, unit)


class Table:
    """One table; print it when all rows are there.

    Args:
        title: what is measured, and of what.
        columns: the heads of the cells, after the name.
    """

    def __init__(self, title: str, *columns: str) -> None:
        self.title = title
        self.columns = columns
        self._rows: list[tuple[str, ...]] = []

    def row(
        self, name: str, *cells: str, figure: float | None = None, bound: Bound | None = None
    ) -> None:
        """Add a row.

        Args:
            name: of what was measured.
            cells: one for each column, formatted.
            figure: what the bound applies to.
            bound: None when nothing is required.
        """
        verdict = bound.verdict(figure) if bound is not None and figure is not None else ""
        self._rows.append((name, *cells, str(bound or ""), verdict))

    def show(self) -> None:
        """Print it."""
        rows = [(self.title, *self.columns, "required", ""), *self._rows]
        widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
        for number, row in enumerate(rows):
            first, *cells, verdict = row
            line = first.ljust(widths[0]) + "".join(
                "   " + cell.rjust(width) for cell, width in zip(cells, widths[1:-1], strict=True)
            )
            print(f"{line}   {verdict}".rstrip())
            if number == 0:
                print("-" * (sum(widths) + 3 * (len(widths) - 1)))
        print(flush=True)


def ratio(value: float) -> str:
    """Return a ratio, formatted."""
    return f"{value:.2f} x"


def middle(figures: Iterable[float], others: Iterable[float] | None = None) -> float:
    """Return the median of figures; or of their ratios to others, each to the figure of its own
    round.
    """
    if others is None:
        return median(figures)
    return median(figure / other for figure, other in zip(figures, others, strict=True))


def in_turns(names: Sequence[str], rounds: int, what: str) -> Iterable[str]:
    """Yield each name once a round, in alternating order, so that a machine that slows down slows
    all of them.
    """
    for number in range(rounds):
        progress(f"{what}: round {number + 1} of {rounds}")
        yield from names if number % 2 == 0 else reversed(names)


def progress(line: str) -> None:
    """Print a line of progress, separate from the table."""
    print(line, file=sys.stderr, flush=True)
