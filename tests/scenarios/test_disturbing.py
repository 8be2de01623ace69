"""The disturbances of scenario tests reach what they are meant for."""

import subprocess
import sys

from sfere_tornado import Hub, SSEMixin

PROGRAM = """
from sfere_tornado import Hub, SSEMixin
print([stages["id"] for stages in Hub().serving.chain([]).interceptors], SSEMixin.on_connection_close.__name__)
"""


def test_a_disturbance_is_the_same_in_a_process_of_its_own(disturbance):
    """A server that a test starts has the same stages and methods as one in this process."""
    ids = [stages["id"] for stages in Hub().serving.chain([]).interceptors]
    told = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
    ).stdout
    assert told.strip() == f"{ids} {SSEMixin.on_connection_close.__name__}"
    assert ("disturbing" in ids) is (disturbance in ("tuple", "append", "copies"))
    assert ("nothing" in told) is (disturbance == "nosuper")
