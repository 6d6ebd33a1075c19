from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from shared.sealing import KeyFileRefused, LocalKeyFile
from shared.sealing.local_key_file import FILE_NAME
from shared.sealing.private_files import write_private


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "keys"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_first_use_makes_a_private_folder_and_file(folder: Path) -> None:
    LocalKeyFile.open(folder)
    assert mode(folder) == 0o700
    assert mode(folder / FILE_NAME) == 0o600


def test_a_second_process_reads_the_same_keys(folder: Path) -> None:
    first, second = LocalKeyFile.open(folder), LocalKeyFile.open(folder)
    assert first.installation == second.installation
    assert first.table == second.table
    assert first.pepper("id") == second.pepper("id")
    assert first.public_key == second.public_key


def test_a_read_only_file_of_mode_0400_is_accepted(folder: Path) -> None:
    LocalKeyFile.open(folder)
    (folder / FILE_NAME).chmod(0o400)
    LocalKeyFile.open(folder)


async def test_a_read_only_file_can_still_be_rotated_by_its_owner(folder: Path) -> None:
    provider = LocalKeyFile.open(folder)
    (folder / FILE_NAME).chmod(0o400)
    await provider.begin_rotation(1, [5])
    assert LocalKeyFile.open(folder).table.find(5, 1) is not None


@pytest.mark.parametrize("permissions", [0o644, 0o640, 0o604, 0o620, 0o660, 0o601])
def test_a_file_open_to_others_is_refused_with_the_way_out(folder: Path, permissions: int) -> None:
    LocalKeyFile.open(folder)
    (folder / FILE_NAME).chmod(permissions)
    with pytest.raises(KeyFileRefused, match=r"is open to others .*: chmod 0600"):
        LocalKeyFile.open(folder)


@pytest.mark.parametrize("permissions", [0o755, 0o750, 0o770, 0o701])
def test_a_folder_open_to_others_is_refused_with_the_way_out(folder: Path, permissions: int) -> None:
    LocalKeyFile.open(folder)
    folder.chmod(permissions)
    with pytest.raises(KeyFileRefused, match=r"is open to others .*: chmod 0700"):
        LocalKeyFile.open(folder)


def test_a_file_of_somebody_else_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    LocalKeyFile.open(folder)
    monkeypatch.setattr(os, "geteuid", lambda: 4_242)
    with pytest.raises(KeyFileRefused, match="belongs to user"):
        LocalKeyFile.open(folder)


def test_a_link_instead_of_the_file_is_refused(folder: Path) -> None:
    LocalKeyFile.open(folder)
    (folder / FILE_NAME).rename(folder / "elsewhere")
    (folder / FILE_NAME).symlink_to(folder / "elsewhere")
    with pytest.raises(KeyFileRefused, match="cannot be opened"):
        LocalKeyFile.open(folder)


def test_a_link_instead_of_the_folder_is_refused(folder: Path, tmp_path: Path) -> None:
    LocalKeyFile.open(folder)
    (tmp_path / "link").symlink_to(folder)
    with pytest.raises(KeyFileRefused, match="is not a folder"):
        LocalKeyFile.open(tmp_path / "link")


@pytest.mark.parametrize("content", [b"", b"KEHUKEY1", bytes(200_000)])
def test_a_damaged_file_is_refused_and_left_alone(folder: Path, content: bytes) -> None:
    LocalKeyFile.open(folder)
    (folder / FILE_NAME).write_bytes(content)
    with pytest.raises(KeyFileRefused, match="is damaged"):
        LocalKeyFile.open(folder)
    assert (folder / FILE_NAME).read_bytes() == content


def test_one_flipped_bit_is_noticed(folder: Path) -> None:
    LocalKeyFile.open(folder)
    content = bytearray((folder / FILE_NAME).read_bytes())
    content[1_000] ^= 1
    (folder / FILE_NAME).write_bytes(content)
    with pytest.raises(KeyFileRefused, match="is damaged"):
        LocalKeyFile.open(folder)


async def test_keys_that_vanish_under_a_running_process_stop_it(folder: Path) -> None:
    provider = LocalKeyFile.open(folder)
    (folder / FILE_NAME).unlink()
    with pytest.raises(KeyFileRefused, match="is gone"):
        await provider.refresh()


async def test_keys_of_another_installation_are_not_taken_over(folder: Path, tmp_path: Path) -> None:
    provider = LocalKeyFile.open(folder)
    LocalKeyFile.open(tmp_path / "other")
    (tmp_path / "other" / FILE_NAME).replace(folder / FILE_NAME)
    with pytest.raises(KeyFileRefused, match="another installation"):
        await provider.refresh()


async def test_an_old_slot_key_is_overwritten_where_it_lay(folder: Path) -> None:
    """A second name for the file's place on the disk shows what becomes of the bytes once the file is replaced."""
    provider = LocalKeyFile.open(folder)
    old_key = provider.table.current[5].key
    await provider.begin_rotation(1, [5])
    (folder / "same-place").hardlink_to(folder / FILE_NAME)
    assert old_key in (folder / "same-place").read_bytes()
    await provider.end_rotation(1, [5])
    assert old_key not in (folder / "same-place").read_bytes()
    assert old_key not in (folder / FILE_NAME).read_bytes()


def test_a_crash_before_the_replacement_leaves_the_former_content(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    LocalKeyFile.open(folder)
    before = (folder / FILE_NAME).read_bytes()

    def crash(*_: object) -> None:
        raise SystemExit

    monkeypatch.setattr(Path, "replace", crash)
    with pytest.raises(SystemExit):
        write_private(folder / FILE_NAME, b"new")
    assert (folder / FILE_NAME).read_bytes() == before
