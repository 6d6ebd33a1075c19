"""`kehu erase --prove`: look for the person, erase, look again, count again, and say what that proves."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from deploy.local.client import ServiceClient
from deploy.local.commands.show import err
from deploy.local.connection import Connection
from deploy.local.erasure import request_erasure, wait_for_certificate
from deploy.local.proof.figures import Figures, compare_figures
from deploy.local.proof.person import Person, living_keys, person_of
from deploy.local.proof.values import Said, to_look_for
from deploy.local.proof.verdict import Verdict, judge, keys_in

if TYPE_CHECKING:
    from deploy.local.sweep import Report


@dataclass(frozen=True, slots=True)
class Proof:
    """Everything that was found out, for the report.

    Attributes:
        said: the values that were looked for; `Hit.canary` counts into it.
        untold: how many values were too short to look for.
        signed: the certificate's signature is this installation's.
        named: how many of the submissions' keys the certificate names as destroyed.
    """

    person: Person
    said: Sequence[Said]
    untold: int
    before: Report
    after: Report
    verdict: Verdict
    certificate: Mapping[str, Any]
    signed: bool
    named: int
    figures: Figures

    @property
    def holds(self) -> bool:
        """Nothing of the person is left, and everything around it agrees."""
        return self.verdict.proved and self.signed and self.named == len(self.person.submissions) and self.figures.exact


def prove_erasure(connection: Connection, customer: UUID, folders: Mapping[str, Path]) -> Proof:
    """Erases the customer for good and proves it.

    Args:
        folders: more places to search, by name, e.g. where traces are kept.

    Raises:
        CommandFailed: nobody has this id, a server does not answer, or the erasure does not end in time.
    """
    person = asyncio.run(person_of(connection, customer))
    said, untold = to_look_for(person.bodies)
    values = [each.value for each in said]
    before = search(connection, values, folders, "looking for the person")
    certificate = _erased(connection, customer)
    after = search(connection, values, folders, "looking again")
    living = asyncio.run(living_keys(connection, keys_in(before)))
    named = set(certificate["certificate"]["keys"]["hashes"])
    return Proof(
        person=person,
        said=said,
        untold=untold,
        before=before,
        after=after,
        verdict=judge(len(values), before, after, living),
        certificate=certificate,
        signed=_is_signed(connection, certificate),
        named=sum(sha256(each.bytes).hexdigest() in named for each in person.submissions),
        figures=asyncio.run(compare_figures(connection, person.submissions)),
    )


def search(connection: Connection, values: Sequence[str], folders: Mapping[str, Path], title: str) -> Report:
    """A sweep over all that this machine can read of the installation, with a line that shows how far it is.

    Raises:
        ValueError: a value is too short.
    """
    from deploy.local.sweep import Places, sweep

    with _progress(title) as show:
        return asyncio.run(sweep(values, connection.settings(), Places({**connection.folders, **folders}), show))


@contextmanager
def _progress(title: str) -> Iterator[Any]:
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    with Progress(SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn(), console=err, transient=True) as progress:
        task = progress.add_task(title)

        def show(report: Report) -> None:
            read = ", ".join(f"{store} {counts['read']:,}" for store, counts in report.visited.items() if counts["read"])
            progress.update(task, description=f"{title}: {read}")

        yield show


def _erased(connection: Connection, customer: UUID) -> Any:
    with ServiceClient(connection, "privacy", ["privacy_officer"]) as privacy:
        return wait_for_certificate(privacy, request_erasure(privacy, customer)["request_id"])


def _is_signed(connection: Connection, certificate: Mapping[str, Any]) -> bool:
    from services.privacy.proof import verify_certificate
    from shared.sealing import LocalKeyFile

    return verify_certificate(certificate, LocalKeyFile.open(connection.key_folder).public_key)
