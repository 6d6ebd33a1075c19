"""The demo: real input through the public door, and a report of what became of it."""
