"""MongoDB behind one package: the only importer of its driver, so that a change of driver is a change here."""

from shared.storage.collection import Collection, Document
from shared.storage.errors import DuplicateKey, StorageError, TransientError, TransientStorageError
from shared.storage.migrations import Migration, migrate
from shared.storage.operations import (
    DeleteMany,
    DeleteOne,
    InsertOne,
    ReplaceOne,
    UpdateMany,
    UpdateOne,
    WriteOperation,
)
from shared.storage.session import Session, Transaction
from shared.storage.store import Store

__all__ = [
    "Collection",
    "DeleteMany",
    "DeleteOne",
    "Document",
    "DuplicateKey",
    "InsertOne",
    "Migration",
    "ReplaceOne",
    "Session",
    "StorageError",
    "Store",
    "Transaction",
    "TransientError",
    "TransientStorageError",
    "UpdateMany",
    "UpdateOne",
    "WriteOperation",
    "migrate",
]
