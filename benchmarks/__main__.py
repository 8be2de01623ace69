"""Run the benchmarks: ``python -m benchmarks fanout``, or ``all`` of them."""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import subprocess
import sys
from importlib import metadata

from .table import FALLS_SHORT

#: Each name is a module of this folder, with ``main(arguments)``. The arguments beside it make the
#: benchmark take a few seconds: enough to see that it works, too little to trust its figures.
BENCHMARKS = {
    "fanout": (
        "a broadcast through the whole chain, against a bare loop of socket.send",
        ["--streams", "20", "--rounds", "1"],
    ),
    "patches": (
        "a broadcast of a Datastar patch, against a send of the same bytes",
        ["--streams", "20", "--rounds", "1"],
    ),
    "compression": (
        "what shared compression saves and costs, against plain streams",
        ["--streams", "20", "--rounds", "1"],
    ),
    "latency": (
        "deliveries, departures noticed, and clients that do not read",
        [
            "--streams",
            "20",
            "--with-stalled",
            "10",
            "--stalled",
            "2",
            "--leaving",
            "5",
            "--rounds",
            "1",
        ],
    ),
    "streams": (
        "streams that come and go in mixed ways, and what stays of them",
        ["--churn", "200"],
    ),
    "idle": (
        "what an open stream costs: memory, and its opening",
        ["--streams", "40", "--rounds", "1"],
    ),
    "crowd": (
        "clients that enter one category together, and streams that all close at once",
        ["--clients", "20", "--leaving", "40", "--rounds", "1"],
    ),
    "ending": (
        "last events and closes of many streams in one turn: is it linear?",
        ["--streams", "20", "40", "--rounds", "1"],
    ),
    "dispatch": (
        "a dispatch by itself: for each broadcast, effect, interceptor",
        ["--rounds", "1"],
    ),
    "tokens": (
        "streams that are fed one by one, each by its own task, against other ways",
        [
            "--streams",
            "20",
            "--seconds",
            "0.2",
            "--rounds",
            "1",
            "--only",
            "connection.send",
            "the same, everything on",
            "textbook Tornado",
        ],
    ),
    "store": (
        "purging a connection and finding ten of them, with 100 to 100,000 stored",
        ["--rounds", "1"],
    ),
    "replay": (
        "clients cut at random, which come back and must get what they missed",
        ["--events", "2000", "--clients", "10", "--cuts", "50"],
    ),
    "presence": (
        "users who reload, drop and come back; all others read each departure once",
        ["--members", "30", "--minutes", "0.05", "--grace", "0.3", "--rate", "10"],
    ),
    "journeys": (
        "the way of a broadcast, a close, an opening, a reconnect: calls and modules",
        [],
    ),
    "servers": (
        "whole servers: CPU per delivered event, against other libraries",
        ["--streams", "20", "--rounds", "1", "--only", "bare socket.send", "textbook Tornado"],
    ),
}

#: Packages whose versions are printed above the figures.
PACKAGES = (
    "tornado",
    "sse-starlette",
    "uvicorn",
    "uvloop",
    "h11",
    "httptools",
    "aiohttp",
    "aiohttp-sse",
)


def main(arguments: list[str]) -> int:
    """Run one benchmark, or all; return the exit code."""
    listing = "\n".join(f"  {name:11} {text}" for name, (text, _) in BENCHMARKS.items())
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=f"Measure, and print tables.\n\n{listing}\n"
        "  all         each of these; some 40 minutes (--quick)",
        epilog="Times differ by machine and hour: compare ratios. "
        "For its arguments: python -m benchmarks fanout --help",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("benchmark", choices=[*BENCHMARKS, "all"], metavar="BENCHMARK")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, metavar="...")
    chosen = parser.parse_args(arguments)
    if chosen.benchmark == "all":
        return run_all(chosen.arguments)
    module = importlib.import_module(f"benchmarks.{chosen.benchmark}")
    code: int = module.main(chosen.arguments)
    return code


def run_all(arguments: list[str]) -> int:
    """Run every benchmark in its own process; print at the end which figures miss their bound."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks all", description="Run every benchmark."
    )
    parser.add_argument(
        "--quick", action="store_true", help="only see that they work; the figures mean nothing"
    )
    chosen = parser.parse_args(arguments)
    print(f"{machine()}\n", flush=True)
    short, failed = [], []
    for name, (_, quick) in BENCHMARKS.items():
        command = [sys.executable, "-m", "benchmarks", name, *(quick if chosen.quick else [])]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            for line in process.stdout or ():
                print(line, end="", flush=True)
                if FALLS_SHORT in line:
                    short.append(f"  {name}: {' '.join(line.split())}")
        if process.returncode:
            failed.append(
                f"  {name}: ended with exit code {process.returncode}, its tables are incomplete"
            )
    print(
        "\n".join(
            ["What falls short, or could not be measured:", *short, *failed]
            if short or failed
            else ["All holds."]
        )
    )
    return 1 if failed else 0


def machine() -> str:
    """Return what the figures depend on: the machine and the versions."""
    versions = []
    for name in PACKAGES:
        try:
            versions.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            versions.append(f"{name} not installed")
    return (
        f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()} {platform.release()}; "
        f"{platform.python_implementation()} {platform.python_version()}\n{', '.join(versions)}"
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
