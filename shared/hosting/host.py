"""Runs one service: HTTP at once, delivery as soon as its servers answer, and an orderly stop."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

import uvicorn
import uvloop

from shared.hosting.application import build_application
from shared.hosting.context import ServiceApp
from shared.hosting.garbage import spare_garbage_searches
from shared.hosting.key_eviction import acknowledging, evict_destroyed_keys
from shared.hosting.memory import give_memory_back, keep_memory_small
from shared.hosting.settings import Settings
from shared.sealing import KeyFileRefused
from shared.storage import TransientError, migrate
from shared.telemetry import get_logger, setup_logs, setup_tracing, stop_tracing
from shared.telemetry.metrics import setup_metrics

Build = Callable[[Settings], Awaitable[ServiceApp]]

EXIT_FAILED = 70
"""Exit status of a service that stopped itself because going on might lose or double something."""
_RETRY_SECONDS = 1.0


class Delivery:
    """The asynchronous side of a service: migrations, relay, workers and tasks. The first failure ends it."""

    def __init__(self, service: ServiceApp) -> None:
        self._service = service
        self._tasks: list[asyncio.Task[None]] = []

    async def run(self) -> None:
        """Returns only by cancellation; raises what a worker or task raised."""
        context = self._service.context
        await _patiently(lambda: migrate(context.store, self._service.migrations))
        await _patiently(context.keyring.start)
        await _patiently(context.relay.start)
        evict = evict_destroyed_keys(context.broker, context.keyring, acknowledging(context))
        work = (evict, self._consume(), give_memory_back(), *(task() for task in self._service.tasks))
        self._tasks = [asyncio.ensure_future(each) for each in work]
        done, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        for ended in done:
            ended.result()
        raise RuntimeError("a task that must not end has ended")

    async def _consume(self) -> None:
        """Waits for Kafka, which may be away while the other tasks work (intake accepts all the same), then consumes until a worker fails."""
        context = self._service.context
        await context.broker.start()
        for worker in self._service.workers:
            await worker.start()
        raise await context.broker.wait_for_failure()

    async def stop(self) -> None:
        """Lets the batch in flight finish, publishes what is due, and closes everything."""
        context = self._service.context
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for worker in self._service.workers:
            await worker.stop()
        await context.relay.stop()
        await context.broker.stop()
        context.store.close()


class _Server(uvicorn.Server):
    """uvicorn raises the signal again once it has stopped, which would end the process before its workers have.

    It also looks ten times a second whether it shall stop; this one is told.
    """

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._told = asyncio.Event()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """As uvicorn's, at once."""
        super().handle_exit(sig, frame)
        self._told.set()

    def end(self) -> None:
        """Stops serving."""
        self.should_exit = True
        self._told.set()

    async def main_loop(self) -> None:
        """Renews the date header once a second until told to stop."""
        while not await self.on_tick(0):
            with suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await self._told.wait()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        yield


async def _patiently(work: Callable[[], Awaitable[object]]) -> None:
    """Repeats what failed for want of a server until it is there."""
    while True:
        try:
            await work()
        except TransientError as error:
            get_logger().warning("waiting_for_server", error=type(error).__name__)
            await asyncio.sleep(_RETRY_SECONDS)
        else:
            return


async def host(service: ServiceApp) -> int:
    """Serves until a signal asks to stop (0) or a worker or task fails (`EXIT_FAILED`)."""
    settings = service.context.settings
    config = uvicorn.Config(
        build_application(service),
        host=settings.host,
        port=settings.port_of(service.context.name),
        log_config=None,
        access_log=False,  # paths may hold ids, and a line per request costs more than it tells
        server_header=False,
        timeout_graceful_shutdown=10,
        http="httptools",
        lifespan="off",
    )
    server, delivery = _Server(config), Delivery(service)
    running = asyncio.create_task(delivery.run())

    def end_serving(_: asyncio.Task[None]) -> None:
        server.end()

    running.add_done_callback(end_serving)
    get_logger().info("service_started", port=config.port)
    await server.serve()
    failure = running.exception() if running.done() and not running.cancelled() else None
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await delivery.stop()
    if failure is not None:
        get_logger().error("service_failed", error=type(failure).__name__)
        return EXIT_FAILED
    get_logger().info("service_stopped")
    return 0


def main(name: str, build: Build) -> None:
    """Entry point of `python -m services.<name>`."""
    keep_memory_small()
    settings = Settings()
    setup_logs(name, settings.instance, settings.log_level)
    setup_tracing(name, settings.instance)
    setup_metrics(name, settings.instance)

    async def run() -> int:
        service = await build(settings)
        spare_garbage_searches()
        return await host(service)

    try:
        status = uvloop.run(run())
    except KeyFileRefused as error:
        # The message names the file and the way out; it holds no secret.
        get_logger().error("key_file_refused", reason=str(error))
        status = EXIT_FAILED
    finally:
        stop_tracing()
    sys.exit(status)
