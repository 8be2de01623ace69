"""The disturbances of the scenario tests reach what they are meant for, in each process."""

import asyncio
import json
import sys

import pytest

#: Says how a stage of an application and a handler find the library.
SCRIPT = """
import json
from sfere_tornado import Hub, Registry, SSEHandler
from sfere_tornado.dispatch import effect

registry, seen, data = Registry("mine"), {}, []

@registry.effect("mine")
def mine(ctx):
    pass

def look(ctx):
    seen["effects"] = [type(ctx.actions).__name__, *(action[0] for action in ctx.actions)]
    data.append(ctx.dispatch_data)

def look_again(ctx):
    data.append(ctx.dispatch_data)

stage = {"id": "mine", "before_dispatch": look, "after_dispatch": look_again}
Hub(registries=[registry], interceptors=[stage]).dispatch([effect("mine")])
seen["copied"] = data[0] is not data[1]
seen["super"] = SSEHandler.on_connection_close.__name__ == "on_connection_close"
print(json.dumps(seen))
"""

UNDISTURBED = {"effects": ["list", "mine"], "copied": False, "super": True}

#: What is different with each disturbance.
DIFFERENT = {
    "none": {},
    "tuple": {"effects": ["tuple", "mine"]},
    "append": {"effects": ["list", "mine", "audited"]},
    "copies": {"copied": True},
    "nosuper": {"super": False},
}


def test_a_disturbance_reaches_the_process_of_the_test(disturbance, capsys):
    """Hubs and handlers that the test makes are disturbed in this way and in no other."""
    exec(SCRIPT, {})  # the same text as in another process
    assert json.loads(capsys.readouterr().out) == UNDISTURBED | DIFFERENT[disturbance]


@pytest.mark.gen_test(timeout=20)
async def test_a_disturbance_reaches_other_processes(io_loop, disturbance):
    """So are those of a process that the test starts."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", SCRIPT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    output, log = await process.communicate()
    assert log == b""
    assert json.loads(output) == UNDISTURBED | DIFFERENT[disturbance]
