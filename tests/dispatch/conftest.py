"""A dispatcher for tests in which things go wrong on purpose."""

import pytest

from sfere_tornado.dispatch import Dispatcher


@pytest.fixture
def quiet():
    """Return a maker of dispatchers that keep what they report in ``reported``, in place of the log."""

    class QuietDispatcher(Dispatcher):
        def __init__(self, *registries, **options):
            self.reported = []
            super().__init__(registries, report=self.reported.append, **options)

    return QuietDispatcher
