"""The documents of privacy; the only place that knows them."""

from services.privacy.mongo.ledger import MongoLedger
from services.privacy.mongo.request_book import MongoRequestBook

__all__ = ["MongoLedger", "MongoRequestBook"]
