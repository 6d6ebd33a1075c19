"""Which topics dedup reads, and what handles them."""

from __future__ import annotations

from services.dedup.use_cases.answer_requests import AnswerRequests
from services.dedup.use_cases.resolve_identities import ResolveIdentities
from shared.contracts.topics import REQUESTS, SUBMISSIONS
from shared.messaging import BatchWorker, Broker
from shared.storage import Store

GROUP = "dedup"


def build_workers(resolve: ResolveIdentities, answer: AnswerRequests, store: Store, broker: Broker) -> list[BatchWorker]:
    """Accepted submissions become somebody's; requests of data subjects are noted or answered."""
    return [
        BatchWorker(group=GROUP, topic=SUBMISSIONS, handle=resolve, store=store, broker=broker),
        BatchWorker(group=GROUP, topic=REQUESTS, handle=answer, store=store, broker=broker),
    ]
