"""What every service is given: its store, keys, broker, access and catalogue, built once from settings."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

from fastapi import APIRouter
from starlette.routing import BaseRoute

from shared.access import Access
from shared.hosting.settings import Settings
from shared.messaging import BatchWorker, Broker, OnPublished, OutboxRelay
from shared.policy import Catalogue, load_catalogue
from shared.sealing import BlindIndex, KeyProvider, KeyRing, LocalKeyFile
from shared.storage import Migration, Store


@dataclass(frozen=True, slots=True)
class ServiceContext:
    """The shared parts of one process. Opening it reaches no server yet, so a service starts while Kafka or MongoDB is down."""

    name: str
    settings: Settings
    store: Store
    provider: KeyProvider
    keyring: KeyRing
    index: BlindIndex
    broker: Broker
    access: Access
    relay: OutboxRelay
    catalogue: Catalogue

    @classmethod
    async def open(cls, name: str, settings: Settings, on_published: OnPublished | None = None) -> Self:
        """Builds the context inside the running event loop.

        Args:
            on_published: given the outbox documents that the relay has published and is about to delete; a repeat is possible.

        Raises:
            KeyFileRefused: the key folder is unsafe or unreadable; the message says what to change.
        """
        store = await Store.connect(settings.mongodb_uri, database=name, namespace=settings.namespace)
        provider = LocalKeyFile.open(settings.keys)
        broker = Broker(settings)
        return cls(
            name=name,
            settings=settings,
            store=store,
            provider=provider,
            keyring=KeyRing(store.other("keyring"), provider),
            index=BlindIndex(provider),
            broker=broker,
            access=Access(settings.keys, settings.access_jwks_url),
            relay=OutboxRelay(store, broker, settings.instance, on_published),
            catalogue=load_catalogue(),
        )


@dataclass(frozen=True, slots=True)
class ServiceApp:
    """A composed service, ready to be hosted.

    Attributes:
        raw_routes: plain ASGI routes of a hot path, matched before the routers.
        tasks: run beside the workers until the service stops; one that raises stops the service.
        larger_bodies: path prefixes that may take bodies over 1 MiB, with their limit in bytes.
        needs: what it cannot take work without, MongoDB apart: whether it is there, by the reason code given where not. By default the
            partitions of its workers; a door that stores first and publishes later needs none of them.
    """

    context: ServiceContext
    migrations: Sequence[Migration]
    routers: Sequence[APIRouter] = ()
    raw_routes: Sequence[BaseRoute] = ()
    workers: Sequence[BatchWorker] = ()
    tasks: Sequence[Callable[[], Awaitable[None]]] = ()
    larger_bodies: dict[str, int] = field(default_factory=dict)
    needs: Mapping[str, Callable[[], bool]] | None = None

    def wants(self) -> list[str]:
        """Reason codes of what it needs and does not have now."""
        needs = {"no_partitions_yet": self._workers_ready} if self.needs is None else self.needs
        return [reason for reason, is_there in needs.items() if not is_there()]

    def _workers_ready(self) -> bool:
        return all(worker.ready() for worker in self.workers)
