"""A clock for tests: it stands still until a test advances it, so no test waits."""

from __future__ import annotations

__all__ = ("FakeClock",)


class FakeClock:
    """A monotonic timer that only a test advances; called, it returns the time in seconds.

    Args:
        start: the first time, in seconds. Not 0 by default: a time that was forgotten and is 0 must
            not look like the present.
    """

    __slots__ = ("_now",)

    def __init__(self, start: float = 1000.0) -> None:
        self._now = start

    def __call__(self) -> float:
        """Return the present time in seconds."""
        return self._now

    def __repr__(self) -> str:
        return f"<FakeClock at {self._now:g}>"

    def advance(self, seconds: float) -> None:
        """Advance the clock.

        Args:
            seconds: by how much, 0 or more.

        Raises:
            ValueError: when time would go backwards.
        """
        if not seconds >= 0:
            raise ValueError(
                f"a monotonic clock goes forward: advance takes 0 seconds or more, not {seconds!r}"
            )
        self._now += seconds
