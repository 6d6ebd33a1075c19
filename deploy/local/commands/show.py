"""What commands print through: results to stdout, notes and errors to stderr."""

from __future__ import annotations

from typing import Any

from rich.console import Console

REFUTED = 4
"""Exit status of a command that looked and found what should not be; 1 is a command that could not look."""
out = Console()
err = Console(stderr=True)


def note(text: str) -> None:
    """A line about progress, not part of the result."""
    err.print(text, style="dim", highlight=False)


def failure(en: str, zh: str = "") -> None:
    """The one line that says what went wrong."""
    err.print(f"[bold red]error[/] {en}" + (f"\n[bold red]错误[/] {zh}" if zh else ""), highlight=False, soft_wrap=True)


def print_json(value: Any) -> None:
    """A document, indented, Chinese as it is."""
    import json

    out.print_json(json.dumps(value, ensure_ascii=False))
