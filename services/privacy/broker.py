"""Topics in, handlers named, nothing else."""

from __future__ import annotations

from services.privacy.use_cases.consents import RecordConsents
from services.privacy.use_cases.requests import AnswerAccess
from services.privacy.use_cases.saga import Saga
from shared.contracts import topics
from shared.messaging import BatchWorker, Broker
from shared.storage import Store

GROUP = "privacy"


def build_workers(store: Store, broker: Broker, record_consents: RecordConsents, saga: Saga, answer_access: AnswerAccess) -> list[BatchWorker]:
    """Consents from identities, sagas from receipts, our own access parts from requests."""
    return [
        BatchWorker(group=GROUP, topic=topics.IDENTITIES, handle=record_consents, store=store, broker=broker, idle=record_consents.fold_marked),
        BatchWorker(group=GROUP, topic=topics.RECEIPTS, handle=saga, store=store, broker=broker, idle=saga.pass_over_open),
        BatchWorker(group=GROUP, topic=topics.REQUESTS, handle=answer_access, store=store, broker=broker),
    ]
