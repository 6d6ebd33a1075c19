"""Topics in, handlers named, nothing else."""

from __future__ import annotations

from functools import partial

from services.privacy.use_cases.consents import RecordConsents
from services.privacy.use_cases.requests import AnswerAccess
from services.privacy.use_cases.saga import Saga
from shared.contracts.topics import IDENTITIES, RECEIPTS, REQUESTS
from shared.messaging import BatchWorker, Broker
from shared.storage import Store

GROUP = "privacy"


def build_workers(store: Store, broker: Broker, consents: RecordConsents, saga: Saga, answer_access: AnswerAccess) -> list[BatchWorker]:
    """Consents from identities, sagas from receipts, our own access parts from requests."""
    worker = partial(BatchWorker, group=GROUP, store=store, broker=broker)
    return [
        worker(topic=IDENTITIES, handle=consents, idle=consents.fold_marked, idle_due=consents.partitions_due),
        worker(topic=RECEIPTS, handle=saga, idle=saga.pass_over_open, idle_due=saga.partitions_due),
        worker(topic=REQUESTS, handle=answer_access),
    ]
