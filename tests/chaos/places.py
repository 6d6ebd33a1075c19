"""At which named places the services of a crash run end, and how often.

Every failpoint of a running stack stands here; the others need something that no stream brings about and are struck by the integration
tests that `ELSEWHERE` names.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from shared.failpoints import FAILPOINTS, OF_MUTANTS

Plan = Mapping[str, Sequence[str]]
"""By service, one entry `name:nth` for every wanted strike."""

_WORKER = (
    "worker.assignment_before_fence",
    "worker.assignment_after_fence_before_seek",
    "worker.fetched_before_transaction",
    "worker.after_handler_before_writes",
    "worker.after_first_write",
    "worker.before_commit",
)
_RELAY = (
    "worker.after_commit_before_relay",
    "worker.after_publish_before_outbox_delete",
    "worker.after_outbox_delete_before_hint",
)
_SHARES: Sequence[tuple[Sequence[str], Mapping[str, int]]] = (
    (_WORKER, {"dedup": 1, "profile": 1, "analytics": 3}),
    (_RELAY, {"dedup": 2, "profile": 3}),
    (("worker.mark_pass_before_commit",), {"profile": 2, "analytics": 3}),
)
"""Of five strikes: the worker is the same everywhere, and so each service dies about as often as the others. Analytics publishes next to nothing."""

BUSY: Mapping[str, Sequence[str]] = {
    "intake": (
        "intake.before_write",
        "intake.after_keys_before_ledger",
        "intake.before_commit",
        "intake.after_commit_before_answer",
        "relay.after_claim_before_publish",
        "relay.after_publish_before_delete",
    ),
    "dedup": ("dedup.decided_before_effects",),
    "profile": ("profile.before_fold", "profile.before_writes"),
    "analytics": ("analytics.after_rows_before_folds", "analytics.before_writes"),
    "privacy": ("privacy.consents_before_commit",),
}
"""Passed with every batch: later strikes let some batches pass, so that each meets another state."""

RARE: Mapping[str, Sequence[str]] = {
    "intake": ("relay.takeover_before_publish", "intake.drained_before_receipt"),
    "dedup": ("dedup.before_erasure_begun", "dedup.erasure_begun", "dedup.before_erasure_part", "dedup.after_erasure_part"),
    "profile": ("profile.mark_pass_before_fold", "profile.before_receipt"),
    "analytics": ("analytics.mark_pass_before_writes",),
    "privacy": (
        "privacy.marks_before_commit",
        "privacy.request_before_commit",
        "privacy.receipts_stored_before_steps",
        "privacy.step_before_commit",
        "privacy.before_barrier",
        "privacy.before_keys_are_final",
        "privacy.before_keys_destroyed",
        "privacy.before_certificate",
        "privacy.before_closed_keys_destroyed",
    ),
}
"""Passed now and then only: always struck at the first pass."""

ELSEWHERE: Mapping[str, str] = {
    "dedup.after_move_part": "tests/integration/test_dedup_races.py",
    "dedup.before_move_part": "tests/integration/test_dedup_races.py",
    "intake.import_between_chunks": "tests/integration/test_intake_import_crash.py",
    "privacy.rotation_before_commit": "tests/integration/test_privacy_rotation_crash.py",
    "worker.redrive_before_commit": "tests/integration/test_messaging_crash.py",
} | {name: "tests/integration/test_sealing_rotation.py" for name in FAILPOINTS if name.startswith("rotation.")}
"""Merges of more than 2,000 submissions, imported files, redriven dead letters, and the operator's rotation of key slots."""


GAPS: Mapping[str, Plan] = {
    "outbox_deleted_early": {"intake": ["relay.after_delete_before_publish"], "dedup": ["worker.after_outbox_delete_before_publish"]},
    "no_id_guard": {"intake": ["relay.after_publish_before_delete"] * 2, "dedup": ["worker.after_publish_before_outbox_delete"] * 2},
    "existence_as_guard": {"profile": ["worker.before_commit"], "analytics": ["worker.before_commit"]},
    "no_offset_check": {"dedup": ["worker.fetched_before_transaction"], "profile": ["worker.after_outbox_delete_before_hint"]},
}
"""By mutant, the places where a death meets the gap that the broken rule leaves open."""


def plan(times: int) -> dict[str, list[str]]:
    """Every place of a running stack, struck `times` times in all (the worker's: in shares of five)."""
    chains = {service: [_entry(name, number) for name in names for number in range(times)] for service, names in BUSY.items()}
    for service, names in RARE.items():
        chains[service] += [name for name in names for _ in range(times)]
    for names, shares in _SHARES:
        for service, share in shares.items():
            chains[service] += [_entry(name, number) for name in names for number in range(share * times // 5)]
    return chains


def short_plan() -> dict[str, list[str]]:
    """A few places of every service, for a run of a minute."""
    around_the_commit = ["worker.before_commit", "worker.after_commit_before_relay", "worker.after_publish_before_outbox_delete"]
    return {
        "intake": ["intake.after_commit_before_answer", "relay.after_publish_before_delete"],
        "dedup": around_the_commit,
        "profile": around_the_commit[1:],
        "analytics": around_the_commit[:1],
    }


def wanted(chains: Plan) -> Counter[str]:
    """How often each place is to strike."""
    return Counter(entry.partition(":")[0] for chain in chains.values() for entry in chain)


def named_elsewhere() -> set[str]:
    """Places that this run leaves to others."""
    return set(ELSEWHERE) | OF_MUTANTS


def _entry(name: str, number: int) -> str:
    return f"{name}:{1 + 2 * number}"
