"""What can go wrong, in three kinds: it may heal, the id is taken, or it is a mistake of ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pymongo.errors import BulkWriteError, ConnectionFailure, DuplicateKeyError, ExecutionTimeout, PyMongoError, WaitQueueTimeoutError

_DUPLICATE_KEY = 11000
# Killed by a new owner, interrupted by a step-down or a shutdown, lock or snapshot not available, transaction gone.
_TRANSIENT_CODES = frozenset({6, 7, 24, 50, 64, 89, 91, 112, 189, 225, 237, 244, 246, 251, 262, 9001, 10107, 11600, 11601, 11602, 13435, 13436})


class TransientError(Exception):
    """It may heal by itself: try the same again later."""


class TransientStorageError(TransientError):
    """The database is away, electing, overloaded, or another transaction was faster."""


class StorageError(Exception):
    """The database refused what it was asked: a mistake in the code or in its rights, not to be retried."""


class DuplicateKey(StorageError):
    """A document with this id, or this unique value, exists already."""


@contextmanager
def translated() -> Iterator[None]:
    """Turns the driver's errors into ours; the driver's own stays as cause. Its text may quote values, so ours does not repeat it."""
    try:
        yield
    except PyMongoError as error:
        raise _ours(error) from error


def _ours(error: PyMongoError) -> Exception:
    name = type(error).__name__
    codes = _codes(error)
    if isinstance(error, DuplicateKeyError) or codes == {_DUPLICATE_KEY}:
        return DuplicateKey(name)
    if _is_transient(error, codes):
        return TransientStorageError(f"{name} {sorted(codes)}")
    return StorageError(f"{name} {sorted(codes)}")


def _codes(error: PyMongoError) -> set[int]:
    if isinstance(error, BulkWriteError):
        return {int(each["code"]) for each in (error.details or {}).get("writeErrors", [])}
    code = getattr(error, "code", None)
    return set() if code is None else {int(code)}


def _is_transient(error: PyMongoError, codes: set[int]) -> bool:
    return (
        isinstance(error, ConnectionFailure | ExecutionTimeout | WaitQueueTimeoutError)
        or error.timeout
        or error.has_error_label("TransientTransactionError")
        or error.has_error_label("UnknownTransactionCommitResult")
        or error.has_error_label("RetryableWriteError")
        or bool(codes & _TRANSIENT_CODES)
    )
