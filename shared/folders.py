"""Where Kehu keeps what is its own on a machine, unless a setting says otherwise."""

from __future__ import annotations

import os
import pwd
import tempfile
from pathlib import Path


def home() -> Path:
    """A home folder that can be written: HOME, else the account's, else one for this user under the temporary folder.

    Raises:
        PermissionError: that last one belongs to somebody else.
    """
    for candidate in (os.environ.get("HOME", ""), _account_home()):
        if candidate and Path(candidate).is_dir() and os.access(candidate, os.W_OK):
            return Path(candidate)
    fallback = Path(tempfile.gettempdir()) / f"kehu-home-{os.getuid()}"
    fallback.mkdir(mode=0o700, exist_ok=True)
    if fallback.stat().st_uid != os.getuid():
        raise PermissionError(f"{fallback} belongs to another user; set KEHU_DATA_FOLDER")
    return fallback


def data_folder() -> Path:
    """`KEHU_DATA_FOLDER`, else `kehu` in `XDG_DATA_HOME`, else `~/.local/share/kehu`: data of the embedded servers, keys, logs."""
    given, base = os.environ.get("KEHU_DATA_FOLDER"), os.environ.get("XDG_DATA_HOME")
    if given:
        return Path(given).expanduser().absolute()
    return (Path(base) if base else home() / ".local" / "share") / "kehu"


def cache_folder() -> Path:
    """`KEHU_CACHE_FOLDER`, else `~/.cache/kehu`: only what can be fetched again lies here."""
    given = os.environ.get("KEHU_CACHE_FOLDER")
    return Path(given).expanduser().absolute() if given else home() / ".cache" / "kehu"


def _account_home() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:  # a container may run as a user without an account
        return ""
