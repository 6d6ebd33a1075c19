"""`python -m benchmarks`: the whole flow, as a table and as JSON."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.whole_flow import as_json, measure, table


def main(
    events: Annotated[int, typer.Option(help="Submissions to send.")] = 200_000,
    customers: Annotated[int, typer.Option(help="People they are about.")] = 20_000,
    output: Annotated[Path, typer.Option(help="Where the JSON goes.")] = Path("build/benchmark.json"),
) -> None:
    """Measures the whole flow on a stack of its own, with real Kafka and MongoDB."""
    with tempfile.TemporaryDirectory(prefix="kehu-benchmark-") as root:
        figures = measure(events, customers, Path(root))
    print(table(figures))
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(as_json(figures))
    print(f"written to {output}")


if __name__ == "__main__":
    typer.run(main)
