"""What a learner has done, kept across kernel restarts: one small JSON file for each thing.

The files are in ``$TRACEKIT_STATE``, or ``$XDG_STATE_HOME/tracekit``, or
``~/.local/state/tracekit`` (XDG Base Directory Specification 0.8). A file is written beside its
place and then renamed, and no two things share one, so several notebooks can write at once.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

from tracekit.errors import TracekitError

__all__ = ("forget", "load", "load_all", "save", "state_folder")


def state_folder() -> Path:
    """The folder of this person's state; it need not exist yet.

    Raises :class:`~tracekit.errors.TracekitError` for a person without a home.
    """
    chosen = os.environ.get("TRACEKIT_STATE")
    if chosen:
        return Path(chosen)
    home = os.environ.get("XDG_STATE_HOME")
    # The specification: a path that is not absolute is invalid and must be ignored.
    if home and Path(home).is_absolute():
        return Path(home) / "tracekit"
    try:
        return Path("~/.local/state/tracekit").expanduser()
    except RuntimeError:
        raise TracekitError(
            "this user has no home folder", "set TRACEKIT_STATE to a folder of yours"
        ) from None


def save(kind: str, name: str, value: dict[str, Any]) -> None:
    """Keep ``value`` as the state of ``name`` among its ``kind``, in place of what was there.

    Raises :class:`~tracekit.errors.TracekitError` where the folder can't be written.
    """
    path = _path(kind, name)
    temporary = ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".new")
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(value, file, ensure_ascii=False)
        os.replace(temporary, path)
    except OSError as error:
        if temporary:
            Path(temporary).unlink(missing_ok=True)
        raise TracekitError(
            f"{path.parent} can't be written: {error.strerror}",
            "set TRACEKIT_STATE to a folder of yours",
        ) from None


def load(kind: str, name: str) -> dict[str, Any] | None:
    """What was last saved, or None.

    Raises :class:`~tracekit.errors.TracekitError` for a file that holds something else.
    """
    return _read(_path(kind, name))


def load_all(kind: str) -> dict[str, dict[str, Any]]:
    """All that was saved of one kind, by name."""
    found = {path.stem: _read(path) for path in sorted((state_folder() / kind).glob("[!.]*.json"))}
    return {name: value for name, value in found.items() if value is not None}


def forget(kind: str, name: str) -> None:
    """Keep nothing of ``name``; all is well where there was nothing."""
    _path(kind, name).unlink(missing_ok=True)


def _path(kind: str, name: str) -> Path:
    if not name or name.startswith(".") or "/" in name:
        raise TracekitError(f"{name!r} can't name a file", 'use a name such as "04-handshake"')
    return state_folder() / kind / f"{name}.json"


def _read(path: Path) -> dict[str, Any] | None:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise TracekitError(
            f"{path} can't be read: {error.strerror}", "set TRACEKIT_STATE to a folder of yours"
        ) from None
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise TracekitError(f"{path} is not what tracekit wrote", "delete it")
    return value
