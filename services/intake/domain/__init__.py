"""The rules of the door as plain functions over plain values: no I/O, no clock, no randomness."""
