"""`python -m services.profile`."""

from services.profile.app import build
from shared.hosting import main

if __name__ == "__main__":
    main("profile", build)
