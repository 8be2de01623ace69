"""Disturb the servers of scenario tests that run in processes of their own.

Python imports this module at its start where the folder is on ``PYTHONPATH``, before the server's
own program: so every hub and handler that it makes is disturbed, as in the process of the tests.
"""

import os
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2]))

from support.disturbing import disturb


def keep(target, name, value):
    """Set an attribute, for as long as the process lives."""
    setattr(target, name, value)


disturb(os.environ["SFERE_DISTURBANCE"], keep)
