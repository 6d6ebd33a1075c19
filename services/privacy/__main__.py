"""`python -m services.privacy`."""

from services.privacy.app import build
from shared.hosting import main

if __name__ == "__main__":
    main("privacy", build)
