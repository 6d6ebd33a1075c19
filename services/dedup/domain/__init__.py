"""The rules of identity, pure: no I/O, no clock, no chance."""
