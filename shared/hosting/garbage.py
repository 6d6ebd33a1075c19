"""How often Python looks for garbage cycles: batches make many objects that live briefly and form none."""

from __future__ import annotations

import gc

THRESHOLDS = (100_000, 20, 100)
"""Python's own 700 costs a consumer 30-40 % of its CPU: a batch of 2,000 events alone would be searched hundreds of times.

Reference counts free everything that matters at once; a search now and then is for the rare cycle.
"""


def spare_garbage_searches() -> None:
    """Leaves out of every search what exists now, and searches rarely from here on. Call once the process is composed."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
