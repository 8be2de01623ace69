"""What every store must do, as tests: subclass :class:`StoreContract` and give it a store.

::

    class TestMyStore(StoreContract):
        def make_store(self, **options):
            return MyStore(**options)

The tests use plain objects as connections, and a store whose leases, if it has any, do not end
while they run. They need no pytest. The contract has one class for each subject; each of them can
also be subclassed alone.
"""

from __future__ import annotations

from .store_bounds import BoundRules
from .store_callbacks import CallbackRules
from .store_entries import EntryRules
from .store_patterns import PatternRules
from .store_removal import RemovalRules
from .store_same_key import SharedKeyRules

__all__ = ("StoreContract",)


class StoreContract(
    EntryRules, PatternRules, RemovalRules, SharedKeyRules, BoundRules, CallbackRules
):
    """The whole contract of :class:`~sfere_tornado.stores.Store`: each method is one rule."""
