"""What a proof and a sweep print: places, numbers and names of fields, never a value."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

from deploy.local.commands.show import out

if TYPE_CHECKING:
    from deploy.local.proof.run import Proof
    from deploy.local.sweep import Hit, Report

HITS_SHOWN = 20
_HOW = {"raw": "in the raw bytes of", "clear": "in clear in", "unsealed": "opened by a key that is left, in"}


def print_proof(proof: Proof) -> None:
    """The whole report, ending with the one line that counts."""
    verdict, said = proof.verdict, proof.said
    _print(f"{len(proof.person.submissions)} submissions said {len(said)} values to look for ({proof.untold} more are too short to tell anything).")
    print_visits(proof.before, proof.after)
    _print(f"of this person only   {len(verdict.alone)} values: {_fields(proof, verdict.alone)}")
    _print(f"of others as well     {len(verdict.shared)} values: {_fields(proof, verdict.shared)}")
    if verdict.unfound:
        _print(f"NOT FOUND BEFORE      {len(verdict.unfound)} values: {_fields(proof, verdict.unfound)}")
    for store in verdict.unseen:
        _print(f"NOT FOUND BEFORE in {store}: the search did not reach the person, so finding nothing afterwards proves nothing")
    print_hits(verdict.left)
    print_certificate_line(proof)
    figures = proof.figures
    agree = "equal a recomputation from the rows that are left" if figures.exact else f"DIFFER in {figures.different} from a recomputation"
    _print(f"counters              {figures.cells:,} cells {agree}; {figures.still_counted} of the person's rows still count")
    out.print("[bold green]PROVED[/]: nothing of the person is left." if proof.holds else "[bold red]NOT PROVED[/]", highlight=False)


def print_certificate_line(proof: Proof) -> None:
    """What the certificate says of the keys."""
    body, keys = proof.certificate["certificate"], len(proof.person.submissions)
    signature = "signature valid" if proof.signed else "SIGNATURE NOT VALID"
    _print(f"certificate           {body['request_id']}: {signature}; names {proof.named} of {keys} submission keys as destroyed")


def print_visits(*reports: Report) -> None:
    """What was searched, and how often anything was found, report beside report."""
    from rich.table import Table

    heads = ("before", "after") if len(reports) == 2 else ("found",)
    table = Table("searched", "read", "of it sealed", "opened", "raw bytes", *heads)
    last = reports[-1]
    for store, counts in last.visited.items():
        figures = [f"{counts[each]:,}" if counts[each] else "" for each in ("read", "sealed", "opened")]
        table.add_row(store, *figures, _bytes(counts["file_bytes"]), *(str(_places(report, store)) for report in reports))
    out.print(table)


def print_hits(hits: Iterable[Hit]) -> None:
    """Where something is that should not be: a line per place, at most `HITS_SHOWN`."""
    places = Counter((hit.store, hit.how, hit.place, hit.canary) for hit in hits)
    for store, how, place, canary in sorted(places)[:HITS_SHOWN]:
        out.print(f"  value {canary + 1}: {_HOW[how]} {store} {place}", highlight=False, markup=False)
    if len(places) > HITS_SHOWN:
        out.print(f"  ... and {len(places) - HITS_SHOWN:,} more places")


def _fields(proof: Proof, numbers: Collection[int]) -> str:
    return ", ".join(sorted({proof.said[number].what for number in numbers})) or "none"


def _places(report: Report, store: str) -> int:
    return sum(hit.store == store for hit in report.hits)


def _bytes(count: int) -> str:
    return f"{count / 1e6:,.1f} MB" if count else ""


def _print(line: str) -> None:
    out.print(line, highlight=False, markup=False, soft_wrap=True)
