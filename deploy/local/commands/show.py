"""What commands print through: results to stdout, notes and errors to stderr."""

from __future__ import annotations

from rich.console import Console

out = Console()
err = Console(stderr=True)


def note(text: str) -> None:
    """A line about progress, not part of the result."""
    err.print(text, style="dim", highlight=False)


def failure(en: str, zh: str = "") -> None:
    """The one line that says what went wrong."""
    err.print(f"[bold red]error[/] {en}" + (f"\n[bold red]错误[/] {zh}" if zh else ""), highlight=False, soft_wrap=True)
