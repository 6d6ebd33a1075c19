"""`python -m services.intake`."""

from services.intake.app import build
from shared.hosting import main

main("intake", build)
