"""`python -m services.analytics`: one analytics process."""

from services.analytics.app import build
from shared.hosting import main

if __name__ == "__main__":
    main("analytics", build)
