"""A figure that nobody sets is a lie on a dashboard: every declared metric is set somewhere, and dashboards and alerts ask for no other."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from shared.telemetry import metrics

ROOT = Path(__file__).parents[2]
DECLARED = re.findall(r"^([A-Z_]+) = _meter\.create_(\w+)\(\"(\w+)\", \"(\w+)\"", Path(metrics.__file__).read_text(), re.MULTILINE)
SUFFIXES = {"counter": "_total", "histogram": "_bucket", "gauge": ""}


@pytest.mark.parametrize("name", [name for name, *_ in DECLARED])
def test_every_declared_metric_is_set_somewhere(name: str) -> None:
    call = re.compile(rf"\b{name}\.(add|set|record)\(")
    files = [path for folder in ("services", "shared") for path in (ROOT / folder).rglob("*.py")]

    assert [path for path in files if call.search(path.read_text())]


def test_dashboards_and_alerts_ask_for_declared_metrics_only() -> None:
    exposed = {f"{name}{'_seconds' if unit == 's' else ''}{SUFFIXES[kind]}" for _, kind, name, unit in DECLARED}
    files = [*(ROOT / "deploy/observability").rglob("*.json"), *(ROOT / "deploy/observability").rglob("*.yml")]

    asked = {name for path in files for name in re.findall(r"\bkehu_[a-z_]+", path.read_text())}

    assert asked
    assert asked - exposed == set()
