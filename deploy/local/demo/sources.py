"""The two real data sets as submissions: FEBRL3 persons and CDNOW purchases."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from deploy.local.demo.archives import CDNOW, FEBRL, fetch, read_text

Submission = dict[str, Any]

FEBRL_OCCURRED_AT = "2026-01-01T00:00:00Z"
"""FEBRL has no times; one for all keeps the choice of values to the other rules."""


def febrl_submissions(cache: Path) -> Iterator[Submission]:
    """FEBRL3: 5,000 records of 2,000 people with typing errors. Only `soc_sec_id` identifies.

    `rec_id` becomes the message id and holds the truth for the report.
    """
    text = read_text(fetch(FEBRL, cache), "datasets/febrl/dataset3.csv")
    for row in csv.DictReader(text.splitlines(), skipinitialspace=True):
        record = {name: (value or "").strip() for name, value in row.items()}
        fields = {
            "given_name": record["given_name"],
            "family_name": record["surname"],
            "street": " ".join(filter(None, (record["street_number"], record["address_1"], record["address_2"]))),
            "city": record["suburb"],
            "postcode": record["postcode"],
            "province": record["state"],
            "country": "AU",
            "birth_date": _birth_date(record["date_of_birth"]),
        }
        identifiers = [{"type": "external_id", "namespace": "febrl", "value": record["soc_sec_id"]}] if record["soc_sec_id"] else []
        yield {
            "message_id": record["rec_id"],
            "kind": "profile",
            "occurred_at": FEBRL_OCCURRED_AT,
            "identifiers": identifiers,
            "fields": {name: value for name, value in fields.items() if value},
        }


def _birth_date(text: str) -> str:
    """ISO form, or nothing where the data set's own typing errors left no valid date."""
    try:
        return datetime.strptime(text, "%Y%m%d").replace(tzinfo=UTC).date().isoformat()
    except ValueError:
        return ""


def person_of(rec_id: str) -> str:
    """The true person behind a FEBRL record: `rec-1496-org` and `rec-1496-dup-0` are both `1496`."""
    return rec_id.split("-")[1]


def cdnow_submissions(cache: Path) -> Iterator[Submission]:
    """CDNOW: every purchase of 23,570 customers of a record shop, 1997-98. It names no products; the number of records bought is the quantity."""
    text = read_text(fetch(CDNOW, cache), "datasets/CDNOW_master.txt")
    for number, line in enumerate(text.splitlines()[1:], start=1):
        customer, day, quantity, dollars = line.split()
        yield {
            "message_id": f"cdnow-{number}",
            "kind": "transaction",
            "occurred_at": f"{day[:4]}-{day[4:6]}-{day[6:]}T00:00:00Z",
            "identifiers": [{"type": "external_id", "namespace": "cdnow", "value": customer}],
            "order": {
                "order_id": f"cdnow-{number}",
                "currency": "USD",
                "lines": [{"product_code": "unnamed", "quantity": int(quantity), "amount": dollars}],
            },
        }
