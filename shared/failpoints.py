"""Named places where a test may stop the process, and switches that break one rule on purpose.

Test-only: inert unless an environment variable is set.

`KEHU_FAILPOINT=<name>[:<nth>[:freeze]]` ends the process with code 137 at the nth pass of that place (the first by default), or
freezes it by SIGSTOP, which makes a zombie. Of several places, comma-separated, the first that is reached strikes. Each strike is
noted as a line of the file `KEHU_FAILPOINT_STRIKES`, if one is named.

`KEHU_MUTANT=<name>` breaks one delivery rule, to prove that the crash test can fail.
"""

from __future__ import annotations

import os
import signal

FAILPOINTS = frozenset(
    {
        # shared.messaging: one batch, from the assignment to the offset hint.
        "worker.assignment_before_fence",
        "worker.assignment_after_fence_before_seek",
        "worker.fetched_before_transaction",
        "worker.after_handler_before_writes",
        "worker.after_first_write",
        "worker.before_commit",
        "worker.after_commit_before_relay",
        "worker.after_outbox_delete_before_publish",
        "worker.after_publish_before_outbox_delete",
        "worker.after_outbox_delete_before_hint",
        "worker.mark_pass_before_commit",
        "worker.redrive_before_commit",
        # shared.messaging: the relay of writers that are not Kafka consumers.
        "relay.after_claim_before_publish",
        "relay.after_delete_before_publish",
        "relay.after_publish_before_delete",
        "relay.takeover_before_publish",
        # services.analytics: rows, folds and counters of one batch.
        "analytics.after_rows_before_folds",
        "analytics.before_writes",
        "analytics.mark_pass_before_writes",
        # shared.sealing: a slot rotation, after each of its steps and before that is recorded.
        "rotation.after_plan",
        "rotation.after_slot_keys",
        "rotation.after_floor",
        "rotation.after_wait",
        "rotation.after_rewrap_page",
        "rotation.after_rewrap",
        "rotation.after_backup",
        "rotation.after_destroy",
        # services.privacy: opening a request, and every step of its saga.
        "privacy.request_before_commit",
        "privacy.consents_before_commit",
        "privacy.marks_before_commit",
        "privacy.receipts_stored_before_steps",
        "privacy.step_before_commit",
        "privacy.before_barrier",
        "privacy.before_keys_are_final",
        "privacy.before_keys_destroyed",
        "privacy.before_certificate",
        "privacy.before_closed_keys_destroyed",
        "privacy.rotation_before_commit",
        # services.profile: between the reads and the writes of a batch, and of the owner's pass over what others left it to do.
        "profile.before_fold",
        "profile.before_writes",
        "profile.before_receipt",
        "profile.mark_pass_before_fold",
        # dedup: decisions, parts of large moves, erasure.
        "dedup.decided_before_effects",
        "dedup.before_move_part",
        "dedup.after_move_part",
        "dedup.before_erasure_begun",
        "dedup.erasure_begun",
        "dedup.before_erasure_part",
        "dedup.after_erasure_part",
        # services.intake: from the door to the answer.
        "intake.before_write",
        "intake.after_keys_before_ledger",
        "intake.before_commit",
        "intake.after_commit_before_answer",
        "intake.import_between_chunks",
        "intake.drained_before_receipt",
    }
)
"""Every failpoint in the code, by area. A service adds its names here."""

OF_MUTANTS = frozenset({"worker.after_outbox_delete_before_publish", "relay.after_delete_before_publish"})
"""Those that sound code never passes: only a mutant opens the gap in which they lie."""

MUTANTS = frozenset({"no_offset_check", "no_id_guard", "existence_as_guard", "outbox_deleted_early"})

KILLED = 137
"""Exit status of a process that a failpoint ended."""


class _Place:
    """A place that the environment armed: how often it is still to be passed, and what happens then."""

    def __init__(self, how: str) -> None:
        nth, _, self._action = how.partition(":")
        self._passes_left = int(nth or 1)

    def passed(self, name: str) -> None:
        self._passes_left -= 1
        if self._passes_left == 0:
            _note_strike(name)
            self._strike()

    def _strike(self) -> None:
        if self._action == "freeze":
            os.kill(os.getpid(), signal.SIGSTOP)
        else:
            os._exit(KILLED)  # As after `kill -9`: nothing is flushed, nothing is cleaned up.


def _note_strike(name: str) -> None:
    """One short line appended in one write, so that whoever armed the places can count; what was buffered is lost on purpose."""
    if _strikes_file:
        descriptor = os.open(_strikes_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.write(descriptor, name.encode() + b"\n")
        os.close(descriptor)


def _armed_places(text: str) -> dict[str, _Place]:
    return {name: _Place(how) for name, _, how in (entry.partition(":") for entry in text.split(",") if entry)}


_armed = _armed_places(os.environ.get("KEHU_FAILPOINT", ""))
_strikes_file = os.environ.get("KEHU_FAILPOINT_STRIKES", "")
_mutant = os.environ.get("KEHU_MUTANT", "")

if unknown := _armed.keys() - FAILPOINTS:
    raise ValueError(f"no such failpoint: {', '.join(sorted(unknown))}")
if _mutant and _mutant not in MUTANTS:
    raise ValueError(f"no such mutant: {_mutant}")


def failpoint(name: str) -> None:
    """Stops the process here if the environment asks for it; otherwise does nothing.

    Raises:
        ValueError: `name` is not registered in `FAILPOINTS`.
    """
    if name not in FAILPOINTS:
        raise ValueError(f"no such failpoint: {name}")
    if name in _armed:
        _armed[name].passed(name)


def mutant(name: str) -> bool:
    """Whether the rule called `name` is switched off, which only a test of the tests does.

    Raises:
        ValueError: `name` is not one of `MUTANTS`.
    """
    if name not in MUTANTS:
        raise ValueError(f"no such mutant: {name}")
    return name == _mutant
