"""Writing what a learner takes home, without losing what is there already."""

from __future__ import annotations

from pathlib import Path

from tracekit.errors import TracekitError

__all__ = ("write_new",)


def write_new(file: Path, text: str) -> Path:
    """Write a text into a file that is not there yet, and give its path.

    :raises TracekitError: the file is there already, or can't be written.

    >>> write_new(Path("no/folder/file.py"), "")
    Traceback (most recent call last):
    ...
    tracekit.errors.TracekitError: no/folder/file.py can't be written: No such file or directory
      next: choose another folder
    """
    try:
        with open(file, "x", encoding="utf-8") as out:
            out.write(text)
    except FileExistsError:
        raise TracekitError(
            f"there is a file {file} already, and nothing was written",
            "choose another name, or remove the file",
        ) from None
    except OSError as error:
        raise TracekitError(
            f"{file} can't be written: {error.strerror}", "choose another folder"
        ) from None
    return file
