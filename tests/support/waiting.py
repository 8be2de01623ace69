"""Waiting for a condition, never for time."""

import asyncio
import inspect


async def eventually(condition, *, patience=10.0):
    """Let the loop turn until a condition holds; for what other sides of a socket have yet to notice."""
    deadline = asyncio.get_running_loop().time() + patience
    while not condition():
        if asyncio.get_running_loop().time() > deadline:
            raise AssertionError(
                f"still not true after {patience} s: {inspect.getsource(condition).strip()}"
            )
        await asyncio.sleep(0.001)
