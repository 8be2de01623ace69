"""Handlers are let go when those who leave with them have been announced."""

import asyncio

from sfere_tornado.hub.release import BURST, LATEST, SLICE, UNDELAYED, Release


class Loop:
    """An event loop whose turns and clock are in the hand of a test."""

    def __init__(self):
        self.now = 100.0
        self.soon = []

    def time(self):
        return self.now

    def call_soon(self, callback):
        self.soon.append(callback)

    def call_later(self, seconds, callback):
        assert seconds == 0
        self.soon.append(callback)

    def turn(self):
        """Do what is due; returns whether there was something."""
        due, self.soon = self.soon, []
        for callback in due:
            callback()
        return bool(due)


class Futures:
    """Futures of handlers, and how many of them were let go."""

    def __init__(self, release):
        self._release = release
        self._loop = asyncio.new_event_loop()
        self._made = []

    def leave(self, count):
        made = [self._loop.create_future() for _ in range(count)]
        self._made += made
        for future in made:
            self._release.let_go(future)
        return made

    @property
    def gone(self):
        return sum(future.done() for future in self._made)

    def close(self):
        self._loop.close()


def prepared():
    loop = Loop()
    release = Release(loop)
    return loop, release, Futures(release)


def test_few_are_let_go_at_once():
    """Who leaves when few others do is let go at once, and nothing is left to be done."""
    loop, release, futures = prepared()
    futures.leave(UNDELAYED)
    assert futures.gone == UNDELAYED
    loop.now += BURST + 0.01
    futures.leave(1)
    assert futures.gone == UNDELAYED + 1
    assert not loop.turn()
    assert repr(release) == "<Release: 0 handlers waiting>"
    futures.close()


def test_a_burst_waits_for_its_end():
    """The others of a burst wait for two turns in which nobody leaves, and are let go in slices."""
    loop, release, futures = prepared()
    futures.leave(UNDELAYED + 2 * SLICE)
    for _ in range(3):
        loop.turn()
        futures.leave(1)
    assert futures.gone == UNDELAYED
    assert repr(release) == f"<Release: {2 * SLICE + 3} handlers waiting>"
    gone = []
    while loop.turn():
        gone.append(futures.gone - UNDELAYED)
    assert gone == [0, 0, SLICE, 2 * SLICE, 2 * SLICE + 3]
    futures.close()


def test_nobody_waits_for_ever():
    """While others leave without end, handlers are let go after a second all the same."""
    loop, _, futures = prepared()
    (*_, first) = futures.leave(UNDELAYED + 1)
    for _ in range(20):
        loop.now += LATEST / 20
        futures.leave(2 * UNDELAYED)
        loop.turn()
    assert not first.done()
    loop.now = 100.0 + LATEST + 0.1
    futures.leave(2 * UNDELAYED)
    loop.turn()
    assert first.done()
    futures.close()


def test_who_was_cancelled_is_left_alone():
    """A handler that was cancelled meanwhile stops nobody; flushing lets the others go, and the turns to come find nobody."""
    loop, release, futures = prepared()
    late = futures.leave(UNDELAYED + 2)
    late[-2].cancel()
    release.flush()
    assert futures.gone == UNDELAYED + 2
    assert loop.turn()
    assert not loop.turn()
    futures.close()
