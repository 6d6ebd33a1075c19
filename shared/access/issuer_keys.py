"""Where the public keys that verify tokens come from: a JWKS address, or the local issuer of a development installation."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from joserfc.errors import JoseError
from joserfc.jwk import OKPKey

from shared.sealing.private_files import exclusive, private_folder, read_private, write_private

if TYPE_CHECKING:
    import httpx

ISSUER_KEY_FILE = "issuer.key"
ISSUER_PUBLIC_FILE = "issuer.pub.json"
_FRESH_SECONDS = 300.0
_FETCH_PAUSE_SECONDS = 10.0
_FETCH_TIMEOUT_SECONDS = 5.0
_JWKS_BYTES_MAX = 256 * 1024


class IssuerUnreachable(Exception):
    """No key is known and none can be fetched now."""


class IssuerKeys(Protocol):
    """The issuer's public Ed25519 keys."""

    async def find(self, kid: str | None) -> Sequence[OKPKey]:
        """The keys to try for a token that names `kid`; empty if there is none. The name only chooses among known keys.

        Raises:
            IssuerUnreachable: none is known and none can be fetched now.
        """
        ...


class LocalIssuer:
    """The issuer key of a development installation, made on first use by whoever mints; services read its public half only."""

    def __init__(self, key_folder: Path) -> None:
        self._folder = key_folder
        self._public_path = key_folder / ISSUER_PUBLIC_FILE
        self._version: int | None = None
        self._keys: list[OKPKey] = []

    async def find(self, kid: str | None) -> Sequence[OKPKey]:
        """The one public key, whatever `kid` says; none before the first token was minted."""
        version = self._public_path.stat().st_mtime_ns if self._public_path.exists() else None
        if version != self._version:
            self._keys = [] if version is None else [OKPKey.import_key(json.loads(read_private(self._public_path)))]
            self._version = version
        return self._keys

    def signing_key(self) -> OKPKey:
        """The private key; made, and its public half written beside it, if there is none.

        Raises:
            KeyFileRefused: folder or file is not private.
        """
        private_folder(self._folder)
        with exclusive(self._folder):
            if not (self._folder / ISSUER_KEY_FILE).exists():
                self._create()
            return OKPKey.import_key(json.loads(read_private(self._folder / ISSUER_KEY_FILE)))

    def _create(self) -> None:
        key = OKPKey.generate_key("Ed25519", {"use": "sig"}, private=True, auto_kid=True)
        # The public half first: a crash in between leaves a half that verifies nothing and is replaced next time.
        write_private(self._public_path, json.dumps(key.as_dict(private=False)).encode())
        write_private(self._folder / ISSUER_KEY_FILE, json.dumps(key.as_dict(private=True)).encode())


class JwksIssuer:
    """The keys behind a JWKS address: fetched when old or when a token names an unknown one, at most once in ten seconds; kept while it is away."""

    def __init__(self, url: str, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._url = url
        self._transport = transport
        self._keys: dict[str | None, OKPKey] = {}
        self._fresh_until = 0.0
        self._fetch_again_at = 0.0
        self._lock = asyncio.Lock()

    async def find(self, kid: str | None) -> Sequence[OKPKey]:
        """The key of this name, or all keys for a token without one."""
        if time.monotonic() >= self._fresh_until or (kid is not None and kid not in self._keys):
            await self._fetch()
        if not self._keys:
            raise IssuerUnreachable
        if kid is None:
            return list(self._keys.values())
        return [self._keys[kid]] if kid in self._keys else []

    async def _fetch(self) -> None:
        import httpx  # most processes know their issuer by a file

        async with self._lock:
            now = time.monotonic()
            if now < self._fetch_again_at:
                return
            self._fetch_again_at = now + _FETCH_PAUSE_SECONDS
            try:
                fetched = await self._fetched()
            except (httpx.HTTPError, ValueError, TypeError):
                return  # The keys at hand stay in use: the issuer's downtime is not ours.
            self._keys = fetched
            self._fresh_until = now + _FRESH_SECONDS

    async def _fetched(self) -> dict[str | None, OKPKey]:
        import httpx

        # No redirects: the address that the operator gave is the one that is trusted.
        async with httpx.AsyncClient(transport=self._transport, timeout=_FETCH_TIMEOUT_SECONDS, follow_redirects=False) as client:
            response = await client.get(self._url)
        response.raise_for_status()
        if len(response.content) > _JWKS_BYTES_MAX:
            raise ValueError("the key set is too large")
        return _ed25519_keys(response.json())


def _ed25519_keys(document: Any) -> dict[str | None, OKPKey]:
    """The Ed25519 public keys of a JWKS document; keys of other kinds, and private ones, are left out."""
    keys = document.get("keys", []) if isinstance(document, dict) else []
    return {each.get("kid"): key for each in keys if isinstance(each, dict) and (key := _ed25519_key(each)) is not None}


def _ed25519_key(document: dict[str, Any]) -> OKPKey | None:
    if document.get("kty") != "OKP" or document.get("crv") != "Ed25519" or document.get("use", "sig") != "sig" or "d" in document:
        return None
    try:
        return OKPKey.import_key(document)
    except (JoseError, ValueError):
        return None
