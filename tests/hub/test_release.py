"""Handlers are let go when those who leave with them have been announced."""

from functools import partial

from sfere_tornado.hub.release import BURST, LATEST, REQUESTS_IN_A_TURN, UNDELAYED, Release


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


class Handlers:
    """Handlers that are to be let go, by number, and which of them were."""

    def __init__(self, release):
        self._release = release
        self._count = 0
        self.ended = []

    @property
    def gone(self):
        return len(self.ended)

    def leave(self, count):
        for _ in range(count):
            self._release.let_go(partial(self.ended.append, self._count))
            self._count += 1


def prepared():
    loop = Loop()
    release = Release(loop)
    return loop, release, Handlers(release)


def test_few_are_let_go_at_once():
    """Who leaves when few others do is let go at once, and nothing is left to be done."""
    loop, release, handlers = prepared()
    handlers.leave(UNDELAYED)
    assert handlers.gone == UNDELAYED
    loop.now += BURST + 0.01
    handlers.leave(1)
    assert handlers.gone == UNDELAYED + 1
    assert not loop.turn()
    assert repr(release) == "<Release: 0 handlers waiting>"


def test_a_burst_waits_for_its_end():
    """The others of a burst wait for two turns in which nobody leaves, and are let go in slices."""
    loop, release, handlers = prepared()
    handlers.leave(UNDELAYED + 2 * REQUESTS_IN_A_TURN)
    for _ in range(3):
        loop.turn()
        handlers.leave(1)
    assert handlers.gone == UNDELAYED
    assert repr(release) == f"<Release: {2 * REQUESTS_IN_A_TURN + 3} handlers waiting>"
    gone = []
    while loop.turn():
        gone.append(handlers.gone - UNDELAYED)
    assert gone == [0, 0, REQUESTS_IN_A_TURN, 2 * REQUESTS_IN_A_TURN, 2 * REQUESTS_IN_A_TURN + 3]


def test_nobody_waits_for_ever():
    """While others leave without end, handlers are let go after a second all the same."""
    loop, _, handlers = prepared()
    handlers.leave(UNDELAYED + 1)
    first = UNDELAYED
    for _ in range(20):
        loop.now += LATEST / 20
        handlers.leave(2 * UNDELAYED)
        loop.turn()
    assert first not in handlers.ended
    loop.now = 100.0 + LATEST + 0.1
    handlers.leave(2 * UNDELAYED)
    loop.turn()
    assert first in handlers.ended


def test_all_are_let_go_at_the_end():
    """Flushing lets go whoever waits, and the turns to come find nobody."""
    loop, release, handlers = prepared()
    handlers.leave(UNDELAYED + 2)
    assert handlers.gone == UNDELAYED
    release.flush()
    assert handlers.gone == UNDELAYED + 2
    assert loop.turn()
    assert not loop.turn()
