"""What a service process carries: five of them run side by side, so whatever one loads for nothing is paid five times."""

from __future__ import annotations

import subprocess
import sys

import pytest

from shared.contracts.topics import SUBSCRIPTIONS
from shared.optional_packages import without


@pytest.mark.parametrize("service", sorted(SUBSCRIPTIONS))
def test_a_service_loads_no_package_that_it_does_not_use(service):
    # given: what libraries load because it is installed, what only an exporter or a key address needs, and what commands need
    unused = ["rich", "pygments", "httpx", "google.protobuf", "psutil", "typer", "jgo", "faker", "deploy"]
    code = f"import sys, services.{service}.app; print([name for name in {unused!r} if name in sys.modules])"

    # when
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    # then
    assert printed.strip() == "[]"


def test_a_hidden_package_is_not_found_within_and_found_behind():
    sys.modules.pop("colorsys", None)
    with without("colorsys"), pytest.raises(ImportError):
        import colorsys  # noqa: F401
    import colorsys as found

    assert found.rgb_to_hsv(0, 0, 0) == (0.0, 0.0, 0)


def test_a_package_that_is_loaded_already_stays():
    with without("subprocess"):
        import subprocess as found
    assert found is subprocess
