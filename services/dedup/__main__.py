"""Runs dedup as a process."""

from services.dedup.app import build
from shared.hosting import main

main("dedup", build)
