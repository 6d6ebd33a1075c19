"""The command line: every command explains itself, quickly, and says in one line what it cannot do."""

from __future__ import annotations

import subprocess
import sys

import click
import pytest
import typer
from typer.testing import CliRunner

from deploy.local.cli import app, main


def command_paths(command, path=()):
    if path:
        yield path
    for name, each in getattr(command, "commands", {}).items():
        yield from command_paths(each, (*path, name))


PATHS = sorted(command_paths(typer.main.get_command(app)))


def test_every_command_that_the_project_promises_is_there():
    promised = {"up", "down", "status", "logs", "demo", "topics", "migrate", "submit", "customer", "erase", "trace", "token", "channel", "keys"}
    assert promised | {"dead-letters"} <= {path[0] for path in PATHS}
    assert {("dead-letters", verb) for verb in ("list", "show", "redrive", "discard")} <= set(PATHS)
    assert {("channel", verb) for verb in ("create", "list", "revoke")} <= set(PATHS)


@pytest.mark.parametrize("path", PATHS, ids=" ".join)
def test_every_command_explains_itself(path):
    # when
    result = CliRunner().invoke(app, [*path, "--help"])

    # then
    assert result.exit_code == 0
    assert "Usage" in result.output
    command: click.Command = typer.main.get_command(app)
    for name in path:
        command = command.commands[name]
    assert command.help


def test_help_waits_for_nothing_slow():
    # given: what takes most of a second to import, and what only some commands need
    slow = ["aiokafka", "faststream", "motor", "pymongo", "fastapi", "pydantic", "httpx", "cryptography", "jgo", "opentelemetry"]
    code = f"import sys, deploy.local.cli; print([name for name in {slow!r} if name in sys.modules])"

    # when
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    # then
    assert printed.strip() == "[]"


@pytest.mark.parametrize("arguments", [["customer", "x"], ["topics", "list"], ["dead-letters", "list"], ["channel", "list"]], ids=" ".join)
def test_a_command_without_a_running_stack_says_so_in_one_line_and_in_chinese(arguments, monkeypatch, tmp_path, capfd):
    # given
    for name in ("KEHU_KAFKA_BOOTSTRAP_SERVERS", "KEHU_MONGODB_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("KEHU_DATA_FOLDER", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["kehu", *arguments])

    # when
    with pytest.raises(SystemExit) as ended:
        main()

    # then
    printed = capfd.readouterr().err
    assert ended.value.code == 1
    assert "kehu up" in printed
    assert "客户平台没有运行" in printed
    assert "Traceback" not in printed


def test_status_of_nothing_ends_with_three(monkeypatch, tmp_path):
    monkeypatch.setenv("KEHU_DATA_FOLDER", str(tmp_path))
    assert CliRunner().invoke(app, ["status"]).exit_code == 3


def test_down_of_nothing_is_no_error(monkeypatch, tmp_path):
    monkeypatch.setenv("KEHU_DATA_FOLDER", str(tmp_path))
    result = CliRunner().invoke(app, ["down"])
    assert result.exit_code == 0
    assert "Nothing runs" in result.output
