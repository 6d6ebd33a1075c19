"""Sealed personal data: data keys, the key ring, key providers, the blind index. The only importer of `cryptography`."""

from shared.sealing.blind_index import BlindIndex, submission_id
from shared.sealing.certificate import canonical_json, public_key_pem, verify
from shared.sealing.data_key import DataKey, body_aad
from shared.sealing.errors import KeyFileRefused, KeyMissing, KeyringMismatch, KeyStoreUnavailable, SealBroken
from shared.sealing.key_draft import KeyDraft
from shared.sealing.key_ring import KeyRing
from shared.sealing.local_key_file import LocalKeyFile
from shared.sealing.memory_provider import MemoryKeyProvider
from shared.sealing.migrations import KEYRING_MIGRATIONS
from shared.sealing.provider import KeyProvider
from shared.sealing.rotation import Rotation, RotationProgress, rotate_slots
from shared.sealing.slots import SLOTS, slot_of

__all__ = [
    "KEYRING_MIGRATIONS",
    "SLOTS",
    "BlindIndex",
    "DataKey",
    "KeyDraft",
    "KeyFileRefused",
    "KeyMissing",
    "KeyProvider",
    "KeyRing",
    "KeyStoreUnavailable",
    "KeyringMismatch",
    "LocalKeyFile",
    "MemoryKeyProvider",
    "Rotation",
    "RotationProgress",
    "SealBroken",
    "body_aad",
    "canonical_json",
    "public_key_pem",
    "rotate_slots",
    "slot_of",
    "submission_id",
    "verify",
]
