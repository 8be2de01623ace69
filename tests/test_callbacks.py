"""The queue of callbacks: order, failures, bounds."""

import logging

import pytest

from sfere_tornado.callbacks import Callbacks

LOG = logging.getLogger("sfere_tornado.test")


def test_the_queue_says_what_waits():
    """The repr names the owner and the number of waiting callbacks."""
    queue = Callbacks("Shop", LOG, limit=1)
    assert repr(queue) == "<Callbacks of Shop, 0 waiting>"
    assert not queue.waiting
    queue.add(print)
    assert repr(queue) == "<Callbacks of Shop, 1 waiting>"
    assert queue.waiting


def test_a_callback_inside_a_callback_waits_for_the_outer_run():
    """What a callback adds is called after what waits, by the outermost run, never nested."""
    queue, order, depth = Callbacks("Shop", LOG), [], []

    def call(name, *caused):
        depth.append(name)
        for each in caused:
            queue.add(call, each)
            queue.run()
        order.append((name, len(depth)))
        depth.pop()

    queue.add(call, "a", "c", "d")
    queue.add(call, "b")
    queue.run()
    assert order == [("a", 1), ("b", 1), ("c", 1), ("d", 1)]
    assert not queue.running


def test_an_interruption_leaves_the_rest_for_the_next_run():
    """After a KeyboardInterrupt the queue is behind, not stuck; the next run calls the rest."""
    queue, called = Callbacks("Shop", LOG), []

    def interrupt():
        raise KeyboardInterrupt

    queue.add(interrupt)
    queue.add(called.append, 1)
    with pytest.raises(KeyboardInterrupt):
        queue.run()
    assert (called, len(queue.waiting)) == ([], 1)
    queue.run()
    assert (called, len(queue.waiting)) == ([1], 0)
