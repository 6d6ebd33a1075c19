"""Where the runtime keeps things, and what it refuses."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from deploy.local import places
from deploy.local.kafka_jars import JarsUnavailable, assert_one_kafka_version
from deploy.local.kafka_server import new_cluster_id
from deploy.local.requirements import MissingServer
from deploy.local.stack import Stack, passwords
from shared import folders
from shared.hosting import Settings

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("home", ["", None, "/nonexistent"], ids=["empty", "unset", "missing"])
def test_a_missing_home_is_replaced_by_one_that_can_be_written(home, monkeypatch):
    # given
    monkeypatch.delenv("HOME", raising=False)
    if home is not None:
        monkeypatch.setenv("HOME", home)
    monkeypatch.setattr(folders, "_account_home", lambda: "/nonexistent")

    # when
    found = folders.home()

    # then
    assert found.is_dir()
    (found / "probe").write_text("")
    (found / "probe").unlink()


@pytest.mark.parametrize("variable", ["KEHU_DATA_FOLDER", "XDG_DATA_HOME"])
def test_services_and_commands_find_the_same_data_folder(variable, monkeypatch, tmp_path):
    for each in ("KEHU_DATA_FOLDER", "XDG_DATA_HOME"):
        monkeypatch.delenv(each, raising=False)
    monkeypatch.setenv(variable, str(tmp_path))

    assert Settings().data_folder == places.Places.default().root
    assert tmp_path in (places.Places.default().root, places.Places.default().root.parent)


def test_passwords_are_drawn_once_and_kept_from_others(tmp_path):
    # given
    place = places.Places(tmp_path / "data")
    place.create()

    # when
    first, second = passwords(place), passwords(place)

    # then
    assert first == second
    assert len(set(first.values())) == 7
    assert place.credentials.stat().st_mode & 0o777 == 0o600
    assert place.root.stat().st_mode & 0o777 == 0o700


def test_a_cluster_id_never_looks_like_an_option():
    drawn = {new_cluster_id() for _ in range(1_000)}
    assert len(drawn) == 1_000
    assert all(len(each) == 22 and not each.startswith("-") for each in drawn)


def test_a_mix_of_kafka_versions_is_refused():
    assert_one_kafka_version([Path("kafka_2.13-4.4.0.jar"), Path("kafka-clients-4.4.0.jar"), Path("zstd-jni-1.5.7-17.jar")])
    with pytest.raises(JarsUnavailable, match=r"kafka-clients-3\.9\.1\.jar"):
        assert_one_kafka_version([Path("kafka_2.13-4.4.0.jar"), Path("kafka-clients-3.9.1.jar")])


def test_a_platform_without_a_server_is_sent_to_docker_compose(monkeypatch):
    from deploy.local import requirements
    from deploy.local.mongodb_server import MongodUnavailable

    def nothing_here():
        raise MongodUnavailable("no wheel")

    # given
    monkeypatch.setattr(requirements, "mongod_binary", nothing_here)

    # when
    with pytest.raises(MissingServer) as refused:
        requirements.require(kafka=False, mongodb=True)

    # then
    assert "docker compose up" in str(refused.value)
    assert "KEHU_MONGODB_URI" in str(refused.value)
    assert "docker compose up" in refused.value.zh


def test_the_password_of_an_external_server_is_not_shown():
    stack = Stack(places.Places(Path("/unused")), external_mongodb="mongodb://me:secret@db.example:27017/?replicaSet=x")
    assert "secret" not in stack.mongodb_address


def test_make_help_lists_every_target():
    # given
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))

    # when
    printed = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout

    # then
    assert {line.split()[1] for line in printed.splitlines()} == targets
