"""The rules of privacy: plain functions over plain values."""
