"""Load, decide, and say what should change: nothing here writes."""
