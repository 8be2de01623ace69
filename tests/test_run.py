"""The script that sets the project up and runs it."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def heed_interrupts():
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no signals of this kind")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_whoever_stops_the_script_stops_the_demo(number):
    """A signal to the script ends the demo, with exit code 0 and no traceback in the log."""
    demo = subprocess.Popen(
        [sys.executable, ROOT / "run.py", "demo", "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # In the background of a shell interrupts are ignored; the demo must not inherit that.
        preexec_fn=heed_interrupts,  # noqa: PLW1509  # no threads run here that could hold a lock
    )
    line = demo.stdout.readline()
    while line and "The lobby is open" not in line:
        line = demo.stdout.readline()
    demo.send_signal(number)
    _, log = demo.communicate(timeout=10)
    assert "The lobby is open" in line
    assert (demo.returncode, "Traceback" in log) == (0, False)


def test_fast_leaves_out_what_is_there():
    """A test that is renamed does not come into the fast ones by its new name."""
    (slow,) = re.findall(r"^SLOW = \((.*)\)$", (ROOT / "run.py").read_text(), re.MULTILINE)
    names = re.findall(r'"([^"]+)"', slow)
    assert len(names) == 4
    assert [name for name in names if not (ROOT / "tests" / name).exists()] == []


def test_a_wrong_command_is_answered_with_the_right_ones():
    """For an unknown command the script lists the known ones."""
    done = subprocess.run(
        [sys.executable, ROOT / "run.py", "dmeo"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "'demo', 'test'" in done.stderr
