"""Apache Kafka's jars: resolved from Maven Central once, then remembered as a class path in a file of the cache."""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from shared.folders import cache_folder

KAFKA_VERSION = "4.4.0"
KAFKA = f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}"
# Resolved on its own: in one endpoint with Kafka, log4j's managed versions pull an older kafka-clients beside the server.
LOGGING = "org.apache.logging.log4j:log4j-slf4j-impl:2.25.1"
FETCH_BYTES_ABOUT = 46_000_000

Progress = Callable[[str, int], None]
"""Called with a file's name and the bytes of it that just arrived."""


class JarsUnavailable(RuntimeError):
    """Kafka's jars could not be fetched or do not fit together."""


def class_path(progress: Progress | None = None) -> str:
    """Kafka's class path; fetches what is missing (some 46 MB, about 20 s) and reports the bytes as they come.

    Raises:
        JarsUnavailable: no network, or a mix of Kafka versions was resolved.
    """
    if (known := _remembered()) is not None:
        return known
    repository = _fetch(progress)
    jars = [repository / jar for jar in json.loads((repository / "jars.json").read_text())]
    assert_one_kafka_version(jars)
    joined = os.pathsep.join(str(jar) for jar in jars)
    _write(_class_path_file(), joined)
    return joined


def is_cached() -> bool:
    """Whether a start needs no network."""
    return _remembered() is not None


def assert_one_kafka_version(jars: Iterable[Path]) -> None:
    """Refuse a class path whose Kafka jars are not all of `KAFKA_VERSION`.

    Raises:
        JarsUnavailable: names the jars of another version.
    """
    versions = {jar.name: found[1] for jar in jars if (found := re.match(r"kafka[a-z_0-9.-]*?-(\d+\.\d+\.\d+)\.jar$", jar.name))}
    strangers = sorted(name for name, version in versions.items() if version != KAFKA_VERSION)
    if strangers or not versions:
        raise JarsUnavailable(f"expected Kafka {KAFKA_VERSION} only, found {', '.join(strangers) or 'no Kafka jar'}")


def _fetch(progress: Progress | None) -> Path:
    """Resolve into a folder that gets its name only when whole, so that an interrupted download is never taken for a jar."""
    repository = cache_folder() / f"kafka-{KAFKA_VERSION}-jars"
    if (repository / "jars.json").exists():
        return repository
    cache_folder().mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix="kafka-jars-", dir=cache_folder()))
    try:
        jars = _join(_resolve(KAFKA, partial, progress), _resolve(LOGGING, partial, progress))
        (partial / "jars.json").write_text(json.dumps([str(jar.relative_to(partial)) for jar in jars]))
        shutil.rmtree(repository, ignore_errors=True)
        partial.replace(repository)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return repository


def _resolve(endpoint: str, repository: Path, progress: Progress | None) -> list[Path]:
    # Imported here: slow, and needed only for the first start. Only jgo's resolver is used: its environments would fetch a second Java.
    from jgo.constants import MAVEN_CENTRAL_URL
    from jgo.maven import MavenContext, PythonResolver
    from jgo.parse import Coordinate

    resolver = PythonResolver(progress_callback=_callback(progress))
    context = MavenContext(resolver=resolver, repo_cache=repository, remote_repos={"central": MAVEN_CENTRAL_URL}, timeout=60)
    try:
        inputs, transitive = resolver.resolve([context.create_dependency(replace(Coordinate.parse(endpoint), scope="compile"))])
        wanted = [*inputs, *(dependency for dependency in transitive if dependency.scope in ("compile", "runtime"))]
        jars = [Path(dependency.artifact.resolve()) for dependency in wanted]
    except Exception as error:
        raise JarsUnavailable(f"could not fetch {endpoint} from Maven Central: {type(error).__name__}: {error}") from error
    if broken := [jar.name for jar in jars if not zipfile.is_zipfile(jar)]:
        raise JarsUnavailable(f"arrived damaged: {', '.join(broken)}")
    return jars


def _callback(progress: Progress | None) -> Callable[[str, int], _Reporter] | None:
    return None if progress is None else lambda name, _total: _Reporter(name, progress)


class _Reporter:
    """The context manager that jgo opens around one download."""

    def __init__(self, name: str, progress: Progress) -> None:
        self._name, self._progress = name, progress

    def __enter__(self) -> Callable[[int], None]:
        return lambda count: self._progress(self._name, count)

    def __exit__(self, *_: object) -> None:
        return None


def _join(first: list[Path], second: list[Path]) -> list[Path]:
    """Both lists, the first one's jar winning where both hold the same artifact, in whatever version."""
    artifacts = {_artifact(jar) for jar in first}
    return first + [jar for jar in second if _artifact(jar) not in artifacts]


def _artifact(jar: Path) -> str:
    return re.sub(r"-\d[\w.-]*\.jar$", "", jar.name)


def _class_path_file() -> Path:
    return cache_folder() / f"kafka-{KAFKA_VERSION}.classpath"


def _remembered() -> str | None:
    if not _class_path_file().exists():
        return None
    joined = _class_path_file().read_text()
    return joined if all(Path(jar).exists() for jar in joined.split(os.pathsep)) else None


def _write(remembered: Path, joined: str) -> None:
    partial = remembered.with_suffix(f".{os.getpid()}")
    partial.write_text(joined)
    partial.replace(remembered)
