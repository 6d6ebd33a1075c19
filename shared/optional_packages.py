"""Imports of a library without the optional packages that it loads merely because they are installed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without(*packages: str) -> Iterator[None]:
    """Within the block, `import` finds none of these packages unless they are loaded already.

    structlog loads rich for tracebacks that no service prints: 4 MB and a tenth of a second in each of five processes.
    """
    hidden = dict.fromkeys(name for name in packages if name not in sys.modules)
    sys.modules.update(hidden)  # type: ignore[arg-type] # None is how Python itself says "not there"
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]
