"""Kernel headers that bcc can use for the running kernel.

bcc looks for them in ``/lib/modules/$(uname -r)`` and then in ``/sys/kernel/kheaders.tar.xz``. Many
machines have neither: cloud kernels, WSL2 and containers run kernels for which their distribution
has no headers package. Programs on tracepoints take few declarations from the headers (the layout
of a record comes from the format file), so the nearest installed version serves them as well.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tracekit.errors import RequirementMissing

__all__ = ("Headers", "find_headers", "find_nearest_headers", "has_own_headers", "merge_trees")

_KCONFIG = Path("include/linux/kconfig.h")
_AUTOCONF = Path("include/generated/autoconf.h")
# The folders of the running kernel (and kheaders) and those of every other
# installed version; a test passes another root.
_ROOT = Path("/")


@dataclass(frozen=True, slots=True)
class Headers:
    """One folder of kernel headers, as ``BCC_KERNEL_SOURCE`` wants it.

    ``release`` is the version they belong to, such as ``"6.1.0-56-amd64"``; ``exact`` says whether
    that is the running kernel's.
    """

    path: Path
    release: str
    exact: bool

    def describe(self, running: str | None = None) -> str:
        """Say in one line which headers are used.

        >>> Headers(Path("/usr/src/x"), "6.1.0-56-amd64", exact=False).describe("6.18.44")
        'no headers for 6.18.44; using the nearest installed, 6.1.0-56-amd64'
        """
        if self.exact:
            return f"headers of {self.release}"
        running = running or platform.release()
        return f"no headers for {running}; using the nearest installed, {self.release}"


def has_own_headers(release: str | None = None, *, root: Path = _ROOT) -> bool:
    """Whether bcc finds headers for kernel *release* (the running one) by itself."""
    modules = root / "lib/modules" / (release or platform.release())
    build, source = modules / "build", modules / "source"
    # Debian splits the headers: build has the configuration, source the rest.
    in_modules = (build / _AUTOCONF).is_file() and any(
        (tree / _KCONFIG).is_file() for tree in (build, source)
    )
    return in_modules or (root / "sys/kernel/kheaders.tar.xz").is_file()


def find_headers(
    release: str | None = None, *, root: Path = _ROOT, cache: Path | None = None
) -> Headers | None:
    """Find headers for kernel *release* (the running one), making a merged folder where needed.

    ``None`` means that there is nothing to do: bcc finds headers of this very kernel by itself, or
    ``BCC_KERNEL_SOURCE`` is set and names some. Otherwise set ``BCC_KERNEL_SOURCE`` to the ``path``
    of what is returned. The merged folder holds symbolic links only; it is made once, in *cache*
    (``$XDG_CACHE_HOME/tracekit/headers``, or ``~/.cache/tracekit/headers``), because the person who
    opens a notebook may write there without being root, and root may read it.

    Raises :class:`~tracekit.errors.RequirementMissing` when no headers at all are installed.
    """
    if os.environ.get("BCC_KERNEL_SOURCE"):
        return None
    release = release or platform.release()
    if has_own_headers(release, root=root):
        return None
    found = find_nearest_headers(release, root=root)
    if found is None:
        raise RequirementMissing(
            f"no kernel headers are installed, neither for {release} nor for another version",
            "python3 -m tracekit setup installs the distribution's "
            "(Debian: linux-headers-amd64, Ubuntu: linux-headers-generic, Fedora: kernel-devel)",
        )
    name, trees = found
    if len(trees) == 1:
        return Headers(trees[0], name, exact=name == release)
    folder = merge_trees(trees, (cache or _cache_folder()) / name)
    return Headers(folder, name, exact=name == release)


def find_nearest_headers(
    release: str, *, root: Path = _ROOT
) -> tuple[str, tuple[Path, ...]] | None:
    """Find the installed headers whose version is closest to *release*; make nothing.

    Returns the version and its folders, the configured one first: one folder where it is complete
    (Fedora, Ubuntu, whose configured folder links to the other), two where the distribution splits
    them (Debian). ``None`` when there are none.
    """
    candidates = list(_installed(root))
    if not candidates:
        return None
    return min(candidates, key=lambda candidate: _distance(candidate[0], release))


def merge_trees(trees: tuple[Path, ...], folder: Path) -> Path:
    """Make *folder* a union of *trees* out of symbolic links; earlier trees win.

    Only ``include`` and ``arch`` are united: bcc reads nothing else. A folder that just one of the
    trees has becomes one link, so the union takes some dozens of links. Two processes may do this
    at once: each builds its own copy and the first rename wins. Returns the folder, which is in the
    temporary folder instead where *folder* can't be written.
    """
    if _is_complete(folder):
        return folder
    folder = _writable_place(folder)
    if _is_complete(folder):
        return folder
    building = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        building.chmod(0o755)
        for part in ("include", "arch"):
            _link_union([tree / part for tree in trees if (tree / part).is_dir()], building / part)
        _put_in_place(building, folder)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return folder


def _is_complete(folder: Path) -> bool:
    # Path.is_file raises where the way there may not be searched.
    return os.path.isfile(folder / _KCONFIG) and os.path.isfile(folder / _AUTOCONF)


def _put_in_place(building: Path, folder: Path) -> None:
    try:
        building.rename(folder)
    except OSError:
        if (folder / _KCONFIG).is_file():
            return  # another process was first
        # Links whose headers package was removed or replaced since.
        stale = building.with_name(f"{building.name}.stale")
        folder.rename(stale)
        building.rename(folder)
        shutil.rmtree(stale, ignore_errors=True)


def _link_union(sources: list[Path], target: Path) -> None:
    target.mkdir()
    names = sorted({entry.name for source in sources for entry in source.iterdir()})
    for name in names:
        holders = [source / name for source in sources if (source / name).exists()]
        if len(holders) > 1 and all(holder.is_dir() for holder in holders):
            _link_union(holders, target / name)
        elif holders:
            (target / name).symlink_to(holders[0])


def _installed(root: Path) -> Iterator[tuple[str, tuple[Path, ...]]]:
    folders = [*(root / "usr/src").glob("linux-headers-*"), *(root / "usr/src/kernels").glob("*")]
    folders += (root / "lib/modules").glob("*/build")
    for configured in folders:
        if not (configured / _AUTOCONF).is_file():
            continue
        if configured.name == "build":
            name = configured.parent.name
        else:
            name = configured.name.removeprefix("linux-headers-")
        if (configured / _KCONFIG).is_file():
            yield name, (configured,)
            continue
        # Debian: linux-headers-6.1.0-56-amd64 beside linux-headers-6.1.0-56-common
        # (or -common-rt). The package's own Makefile names the folder it belongs to.
        for common in sorted((root / "usr/src").glob("linux-headers-*-common*")):
            version = re.split(r"-common", common.name.removeprefix("linux-headers-"))[0]
            same_flavour = common.name.endswith("-rt") == ("-rt-" in name)
            if name.startswith(f"{version}-") and same_flavour and (common / _KCONFIG).is_file():
                yield name, (configured, common)


def _distance(name: str, release: str) -> tuple[object, ...]:
    ours, theirs = _numbers(name), _numbers(release)
    apart = tuple(abs(a - b) for a, b in zip(ours, theirs, strict=True))
    other_flavour = ("rt" in _words(name)) != ("rt" in _words(release))
    # Of two equally far away the newer one: headers grow, they seldom shrink.
    return name != release, apart, other_flavour, tuple(-number for number in ours), name


def _numbers(release: str) -> tuple[int, int, int, int]:
    found = [int(number) for number in re.findall(r"\d+", release)[:4]]
    first, second, third, fourth = [*found, 0, 0, 0, 0][:4]
    return first, second, third, fourth


def _words(release: str) -> list[str]:
    return re.findall(r"[a-z]+", release)


def _cache_folder() -> Path:
    cache = os.environ.get("XDG_CACHE_HOME")
    base = Path(cache) if cache else Path(os.path.expanduser("~")) / ".cache"
    return base / "tracekit" / "headers"


def _writable_place(folder: Path) -> Path:
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        if os.access(folder.parent, os.W_OK):
            return folder
    except OSError:
        pass
    # No home, or one that can't be written: a service user, a read-only system.
    # Everybody may write to the temporary folder, so only one of our own is trusted.
    parent = Path(tempfile.gettempdir()) / f"tracekit-headers-{os.getuid()}"
    parent.mkdir(mode=0o755, exist_ok=True)
    if parent.is_symlink() or parent.stat().st_uid != os.getuid():
        raise RequirementMissing(
            f"no place for links to kernel headers: {folder.parent} can't be written, "
            f"and {parent} belongs to somebody else",
            "set XDG_CACHE_HOME to a folder of yours",
        )
    return parent / folder.name
