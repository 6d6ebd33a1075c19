"""`kehu certificate verify`: a file and a public key are enough."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from deploy.local.cli import main
from services.privacy.domain.certificate import signed
from shared.sealing import LocalKeyFile
from tests.unit.test_privacy_certificate import certificate


@pytest.fixture
def keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalKeyFile:
    monkeypatch.setenv("KEHU_DATA_FOLDER", str(tmp_path))
    monkeypatch.delenv("KEHU_KEY_FOLDER", raising=False)
    return LocalKeyFile.open(tmp_path / "keys")


@pytest.fixture
def file(keys: LocalKeyFile, tmp_path: Path) -> Path:
    path = tmp_path / "certificate.json"
    path.write_text(json.dumps(signed(certificate(), sign=keys.sign, public_key=keys.public_key)))
    return path


def kehu(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["kehu", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def test_a_true_certificate_is_valid_here_and_with_nothing_but_the_public_key(
    file: Path, keys: LocalKeyFile, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert kehu(monkeypatch, "certificate", "verify", file) == 0
    assert "VALID" in capfd.readouterr().out

    monkeypatch.setenv("KEHU_DATA_FOLDER", str(tmp_path / "elsewhere"))
    assert kehu(monkeypatch, "certificate", "verify", file, "--public-key", keys.public_key.hex()) == 0
    assert not (tmp_path / "elsewhere").exists()


def test_a_changed_certificate_and_another_installations_key_end_with_four(
    file: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert kehu(monkeypatch, "certificate", "verify", file, "--public-key", "00" * 32) == 4

    file.write_text(file.read_text().replace('"source_records": 2', '"source_records": 3'))
    assert kehu(monkeypatch, "certificate", "verify", file) == 4
    assert "无效" in capfd.readouterr().err


@pytest.mark.parametrize("content", ["", "[]", "{", "\udcff", "7"])
def test_what_is_no_certificate_is_one_line_and_no_traceback(
    content: str, file: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    file.write_bytes(content.encode("utf-8", "surrogateescape"))

    assert kehu(monkeypatch, "certificate", "verify", file) == 1
    assert "Traceback" not in capfd.readouterr().err


def test_without_any_key_it_says_what_to_give_and_makes_none(
    file: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KEHU_DATA_FOLDER", str(tmp_path / "elsewhere"))

    assert kehu(monkeypatch, "certificate", "verify", file) == 1
    assert "--public-key" in capfd.readouterr().err
    assert not (tmp_path / "elsewhere").exists()


def test_the_public_key_is_printed_alone(keys: LocalKeyFile, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    assert kehu(monkeypatch, "certificate", "public-key") == 0
    assert capfd.readouterr().out.strip() == keys.public_key.hex()
