"""A contender as a process: its port, its commands, and what it costs."""

from __future__ import annotations

import json
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from .clients import HOST

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ("FULL", "NODE", "OURS", "PYTHON", "TASKS", "TEXTBOOK", "Server", "missing")

ROOT: Final = Path(__file__).parents[1]

OURS: Final = "sfere_tornado"
TEXTBOOK: Final = "textbook Tornado"

#: Contenders in Python: the name that is printed, the module and its arguments, what it needs
#: besides Tornado.
PYTHON: Final = {
    OURS: (("ours",), ()),
    "bare socket.send": (("bare",), ()),
    TEXTBOOK: (("textbook",), ()),
    "sse-starlette": (
        ("starlette_sse", "example", "h11"),
        ("sse_starlette", "uvicorn", "uvloop", "h11"),
    ),
    "sse-starlette, httptools": (
        ("starlette_sse", "example", "httptools"),
        ("sse_starlette", "uvicorn", "uvloop", "httptools"),
    ),
    "the same, just a queue": (
        ("starlette_sse", "generator", "httptools"),
        ("sse_starlette", "uvicorn", "uvloop", "httptools"),
    ),
    "aiohttp-sse": (("aiohttp_queues",), ("aiohttp", "aiohttp_sse")),
}

#: This library with every feature, and the bare loop with a task for each stream.
FULL: Final = "sfere_tornado, everything on"
TASKS: Final = "bare socket.send, a task each"

#: Those that only some benchmarks have, in the same form.
SPECIAL: Final = {FULL: (("ours", "full"), ()), TASKS: (("bare_tasks",), ())}

#: The contender on Node, and the version of its package that is installed for it.
NODE: Final = "better-sse"
NODE_VERSION: Final = "0.16"

#: Seconds that a server may take to start.
STARTING: Final = 30.0


def missing(name: str) -> str:
    """Return why a contender cannot be measured here; an empty text if it can."""
    if name == NODE:
        absent = [program for program in ("node", "npm") if shutil.which(program) is None]
        return f"{absent[0]} is not installed" if absent else ""
    absent = [module for module in {**PYTHON, **SPECIAL}[name][1] if find_spec(module) is None]
    return (
        f"not installed: {', '.join(absent)} (python3 run.py bench installs them)" if absent else ""
    )


class Server:
    """One contender, running. Usable in ``with``; its end ends the process.

    Args:
        name: one of :data:`PYTHON`, :data:`FULL`, :data:`TASKS`, or :data:`NODE`.

    Raises:
        RuntimeError: when it does not start.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._folder = Path(tempfile.mkdtemp(prefix="bench-")) if name == NODE else None
        if self._folder is None:
            module, *arguments = {**PYTHON, **SPECIAL}[name][0]
            command = [sys.executable, "-m", f"benchmarks.contenders.{module}", *arguments]
        else:
            install_node_package(self._folder)
            command = [
                "node",
                str(ROOT / "benchmarks/contenders/better_sse.mjs"),
                str(self._folder),
            ]
        self._process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        out = self._process.stdout
        if (
            out is None
            or not select.select([out], [], [], STARTING)[0]
            or not (line := out.readline().strip())
        ):
            self.stop()
            raise RuntimeError(f"{name} did not start; {command}")
        self.port = int(line)
        self._orders = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._orders.settimeout(STARTING)
        self._orders.connect((HOST, self.port))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._orders.close()
        self.stop()

    def stop(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def dispatch(self, events: int = 1) -> None:
        """Have this number of events dispatched in one turn, to every stream."""
        self._orders.send(str(events).encode())

    def feed(self, rate: int) -> None:
        """Have each task of a stream send this number of events a second; 0 stops them."""
        self._orders.send(b"%d/s" % rate)

    def lateness(self) -> list[float]:
        """Return by how many seconds each timer of the loop was late since the last call; the first
        call begins to measure.
        """
        self._orders.send(b"late")
        return [late / 1e3 for late in json.loads(self._orders.recv(65_536))]

    def status(self) -> dict[str, int]:
        """Return what the server has: tasks, streams, open files, bytes of memory."""
        self._orders.send(b"?")
        status: dict[str, int] = json.loads(self._orders.recv(1000))
        files = len(list(Path(f"/proc/{self._process.pid}/fd").iterdir()))
        return {**status, "files": files, "memory": self.memory()}

    def cpu(self) -> float:
        """Return the seconds of CPU, of user and system, that the process and its threads have
        used.
        """
        # The clock of another process, numbered as by clock_getcpuclockid(3).
        return time.clock_gettime((~self._process.pid << 3) | 2)

    def memory(self) -> int:
        """Return the bytes of memory that only this process uses."""
        rollup = (
            Path(f"/proc/{self._process.pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
        )
        sizes = {
            line.split(":")[0]: int(line.split()[1])
            for line in rollup
            if line.startswith("Private_")
        }
        return 1024 * (sizes["Private_Clean"] + sizes["Private_Dirty"])


def install_node_package(folder: Path) -> None:
    """Install better-sse into a folder.

    Raises:
        RuntimeError: when npm fails.
    """
    command = ["npm", "install", "--silent", "--no-audit", "--no-fund", f"{NODE}@{NODE_VERSION}"]
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )
    if done.returncode:
        raise RuntimeError(
            f"npm could not install {NODE}: "
            f"{done.stdout.strip()[-200:]}{done.stderr.strip()[-200:]}"
        )
