"""The benchmarks work: each one measures a little, in a few seconds, and prints its tables."""

import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from benchmarks import fanout
from benchmarks.__main__ import BENCHMARKS, main
from benchmarks.journeys import Call, Journey, measure
from benchmarks.load import Load
from benchmarks.server import OURS, Server
from benchmarks.table import FALLS_SHORT, Table, at_least, at_most, in_turns, middle

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("name", BENCHMARKS)
def test_it_runs(name):
    """A benchmark ends with exit code 0 and its tables on the standard output."""
    command = [sys.executable, "-m", "benchmarks", name, *BENCHMARKS[name][1]]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stdout.splitlines()) > 2


class OneStream:
    """The only thing that the bare loop asks of a hub: its streams, each with a socket."""

    def __init__(self, end):
        self.socket = end

    def tornado_streams(self):
        return [self]


def fill(end, size):
    while True:
        end.send(b"." * size)


def test_the_bare_loop_waits_for_a_client_that_falls_behind():
    """A busy machine does not break the measurement: refused bytes are sent later, whole."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        loop = fanout.bare_loop(OneStream(ours))
        for size in (1000, 1):
            with pytest.raises(BlockingIOError):
                fill(ours, size)
        expected = fanout.framed().split(b": ")[0]
        writing = threading.Thread(target=loop)
        writing.start()
        received = b""
        theirs.settimeout(10)
        while not received.endswith(b"\n\n\r\n"):
            received += theirs.recv(65536)
        writing.join(10)
        assert not writing.is_alive()
        assert received.lstrip(b".").startswith(expected)


def test_a_client_that_follows_counts_each_event_of_one_read():
    """Events that are joined in one send are several events, each with a delay of its own."""
    with Server(OURS) as server, Load() as load:
        load.open(server.port, 3)
        load.follow()
        load.count()
        server.dispatch(7)
        events = 0
        deadline = time.monotonic() + 10
        while events < 21 and time.monotonic() < deadline:
            arrivals = load.count()
            events += 0 if arrivals is None else arrivals.events
        assert events == 21
        assert load.count() is None


def test_all_is_named_in_the_help(capsys):
    """The help names every benchmark, and the way to run all of them."""
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    out = capsys.readouterr().out
    assert [name for name in (*BENCHMARKS, "all") if f"  {name} " not in out] == []


def test_a_table_says_whether_a_bound_holds(capsys):
    """A figure at its bound holds, one beyond it falls short; without a bound there is no word."""
    table = Table("title", "figure")
    table.row("no bound", "1")
    table.row("at most", "2", figure=2, bound=at_most(2))
    table.row("too much", "2.01", figure=2.01, bound=at_most(2))
    table.row("too little", "5.99", figure=5.99, bound=at_least(6))
    table.show()
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].split() == ["no", "bound", "1"]
    assert lines[3].split()[-4:] == ["<=", "2", "x", "holds"]
    assert lines[4].endswith(FALLS_SHORT)
    assert lines[5].split()[2:6] == ["5.99", ">=", "6", "x"]
    assert lines[5].endswith(FALLS_SHORT)


def test_ratios_are_those_of_one_round():
    """The median is that of the ratios within each round, not the ratio of the medians."""
    assert middle([2, 30, 100], [1, 10, 1]) == 3


def test_turns_alternate(capsys):
    """Nobody always goes first."""
    assert list(in_turns(["a", "b"], 3, "test")) == ["a", "b", "b", "a", "a", "b"]


def test_a_journey_counts_its_moves():
    """A move is a call in another module than the one before; a function counts once."""
    calls = [Call("a.py", "f"), Call("a.py", "g"), Call("b.py", "f"), Call("a.py", "f")]
    journey = Journey(tuple(calls))
    assert journey.figures == (4, 3, 2, 2)
    assert list(journey.legs()) == [("a.py", ["f", "g"]), ("b.py", ["f"]), ("a.py", ["f"])]


#: Calls and moves of each journey, at most: what they are, and up to 3 % more.
BOUNDS = {
    "opening": (224, 148),
    "broadcast": (84, 52),
    "close": (133, 96),
    "reconnect": (246, 169),
}


def test_no_journey_gets_longer():
    """A layer that only passes on shows here, whatever the machine has to do beside it."""
    journeys = measure()
    longer = {}
    for name, journey in journeys.items():
        calls, _, _, moves = journey.figures
        if calls > BOUNDS[name][0] or moves > BOUNDS[name][1]:
            longer[name] = (calls, moves)
    assert longer == {}
    # A journey that is cut short would be within any bound.
    for name, (most_calls, _) in BOUNDS.items():
        assert len(journeys[name].calls) > most_calls / 2, name
