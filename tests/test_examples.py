"""Every numbered example starts, answers its curl lines, and ends on an interrupt."""

import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

HERE = Path(__file__).parents[1] / "examples"

#: For each example: how lines begin that must come over the stream of its first curl line, while the others are run.
EXPECTED = {
    "01_smallest_stream.py": ["data: hello"],
    "02_composing_chains.py": ["event: said", 'data: {"name":"brian","text":"hello"}'],
    "03_expiry_by_yaml.py": ["event: left", 'data: {"name":"brian","cause":"expired"}'],
    "04_background_task.py": ["event: count", 'data: {"n":'],
    "05_from_a_thread.py": ["event: progress", 'data: {"percent":0}', 'data: {"percent":100}'],
}


def test_every_example_is_tested():
    """An example without an expectation fails here."""
    assert set(EXPECTED) == {path.name for path in HERE.glob("[0-9]*.py")}


@pytest.mark.parametrize("name", EXPECTED)
def test_example(name):
    """The curl lines in the example's docstring show what it promises; interrupted, it cuts its streams and ends well."""
    path = HERE / name
    doc = path.read_text().split('"""')[1]
    curls = [
        shlex.split(line.partition("#")[0])
        for line in re.findall(r"^    (curl .*)$", doc, re.MULTILINE)
    ]
    port = free_port()
    server = subprocess.Popen(
        [sys.executable, path, f"--port={port}", "--logging=error"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        # A test run in the background of a shell inherits that interrupts are ignored; the example must not.
        preexec_fn=heed_interrupts,  # noqa: PLW1509  # no threads run here that could hold a lock
    )
    try:
        wait_for(port)
        commands = [
            [
                part.replace(re.search(r":(80\d\d)", part)[1], str(port)) if ":80" in part else part
                for part in curl
            ]
            for curl in curls
        ]
        stream = subprocess.Popen(
            [*commands[0], "-s", "--max-time", "8"], stdout=subprocess.PIPE, text=True
        )
        time.sleep(0.3)  # curl does not say when its stream is open
        others = [
            subprocess.Popen([*command, "-s", "--max-time", "8"], stdout=subprocess.DEVNULL)
            for command in commands[1:]
        ]
        wanted, seen = list(EXPECTED[name]), []
        for line in stream.stdout:
            seen.append(line.rstrip("\n"))
            if seen[-1].startswith(wanted[0]):
                wanted.pop(0)
            if not wanted:
                break
        for process in others:
            process.kill()
            process.communicate()
        assert wanted == [], seen
    finally:
        server.send_signal(signal.SIGINT)
        _, log = server.communicate(timeout=5)
        last_words, _ = stream.communicate(timeout=5)
    assert (server.returncode, log) == (0, b"")
    # 18: the stream was cut, so that a browser comes back; and it was told when.
    assert stream.returncode == 18
    assert re.search(r"^retry: \d+$", last_words, re.MULTILINE)


def heed_interrupts():
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(port):
    for _ in range(200):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)  # another process cannot tell when it listens
    raise AssertionError("the example did not start to listen")
