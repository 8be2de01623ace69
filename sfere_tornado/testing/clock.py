"""A clock for tests: it stands still until it is told to go on, so that no test waits."""

from __future__ import annotations

__all__ = ("FakeClock",)


class FakeClock:
    """A monotonic timer in a test's hand; called, it returns the present time in seconds.

    Args:
        start: the first time. Not 0 by default, so that a forgotten time is not taken for the present.
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
        """Let time pass.

        Args:
            seconds: how much, 0 or more.

        Raises:
            ValueError: when time would go backwards, which a monotonic clock never does.
        """
        if not seconds >= 0:
            raise ValueError(
                f"a monotonic clock goes forward: advance takes 0 seconds or more, not {seconds!r}"
            )
        self._now += seconds
