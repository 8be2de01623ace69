"""The states of a connection, and the table of what leads from one to another."""

import runpy
from itertools import product
from pathlib import Path

import pytest

from sfere_tornado.streams.states import TRANSITIONS, Signal, State


def test_every_state_can_be_reached():
    """From opening, step by step."""
    reached, todo = set(), [State.OPENING]
    while todo:
        state = todo.pop()
        reached.add(state)
        todo += [
            after
            for (before, _), after in TRANSITIONS.items()
            if before is state and after not in reached
        ]
    assert reached == set(State)


def test_every_stream_ends_and_none_comes_back():
    """Each state but the last has an end; the last has no way out."""
    for state in State:
        assert ((state, Signal.END) in TRANSITIONS) is (state is not State.ENDED)
    assert not [signal for state, signal in TRANSITIONS if state is State.ENDED]


def test_a_stream_that_missed_something_can_only_end():
    """A gap must be seen as one: nothing leads from full or gone back to open."""
    for state in (State.FULL, State.GONE):
        assert [signal for before, signal in TRANSITIONS if before is state] == [Signal.END]


def test_a_pause_changes_nothing_else():
    """What a signal does to a stream, it does to the paused one, but that events go on waiting."""
    paused = {
        State.OPENING: State.OPENING_PAUSED,
        State.GREETING: State.GREETING_PAUSED,
        State.BUSY: State.BUSY_PAUSED,
        State.OPEN: State.OPEN_PAUSED,
    }
    for state, twin in paused.items():
        assert TRANSITIONS[state, Signal.PAUSE] is twin
        assert TRANSITIONS[twin, Signal.RESUME] is state
        for signal in (Signal.OPEN, Signal.DRAIN, Signal.OVERFLOW, Signal.END):
            after = TRANSITIONS.get((state, signal))
            if (state, signal) == (State.OPEN, Signal.OVERFLOW):
                continue
            assert TRANSITIONS.get((twin, signal)) is paused.get(after, after)
    assert {state for state in State if state.paused} == set(paused.values())


def test_only_an_open_stream_writes_and_only_a_waiting_one_overflows():
    """The socket is written to in one state; the outbox is filled in the others."""
    for state, signal in product(State, (Signal.BLOCK, Signal.BREAK)):
        assert ((state, signal) in TRANSITIONS) is (state is State.OPEN)
    waiting = {state for state in State if (state, Signal.OVERFLOW) in TRANSITIONS}
    assert waiting == set(State) - {State.OPEN, State.FULL, State.GONE, State.ENDED}


@pytest.mark.parametrize(
    ("name", "states"),
    [
        ("opening", {State.OPENING, State.OPENING_PAUSED}),
        ("live", {State.OPEN, State.BUSY, State.OPEN_PAUSED, State.BUSY_PAUSED}),
    ],
)
def test_what_a_state_says(name, states):
    """The questions that other modules ask a state."""
    assert {state for state in State if getattr(state, name)} == states


def test_the_picture_in_the_documentation_is_drawn_from_the_table():
    """A transition that is added or removed changes the picture: ``python docs/draw_states.py``."""
    docs = Path(__file__).parents[2] / "docs"
    drawn = runpy.run_path(str(docs / "draw_states.py"))["draw"]()
    assert (docs / "pictures" / "connection-states.svg").read_text(encoding="utf-8") == drawn


def test_the_picture_has_every_state_and_transition():
    """Each pair of states that a signal joins has an arrow, alone or from the frame."""
    docs = Path(__file__).parents[2] / "docs"
    picture = runpy.run_path(str(docs / "draw_states.py"))
    assert set(picture["PLACES"]) == set(State)
    shown = set()
    for start, end, words in picture["arrows"]():
        for signal in words.replace(",", " /").split(" / "):
            if signal.startswith("not from"):
                continue
            starts = picture["FRAMED"] if start is None else {start}
            shown |= {(each, Signal(signal), end) for each in starts}
    asked = {(before, signal, after) for (before, signal), after in TRANSITIONS.items()}
    assert asked <= shown
    assert {state.value for state, signal, _ in shown - asked} == {"open"}  # "not from open"
