from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tracekit.errors import RequirementMissing
from tracekit.host.headers import (
    find_headers,
    find_nearest_headers,
    has_own_headers,
    merge_trees,
)

KCONFIG = "include/linux/kconfig.h"
AUTOCONF = "include/generated/autoconf.h"


@pytest.fixture(autouse=True)
def _no_chosen_headers(monkeypatch):
    monkeypatch.delenv("BCC_KERNEL_SOURCE", raising=False)


def write(root: Path, *names: str) -> None:
    for name in names:
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(str(file))


def debian(root: Path, version: str, flavour: str = "amd64", common: str = "common") -> None:
    configured = root / f"usr/src/linux-headers-{version}-{flavour}"
    write(configured, AUTOCONF, "arch/x86/include/generated/asm/irq.h")
    shared = root / f"usr/src/linux-headers-{version}-{common}"
    write(shared, KCONFIG, "include/net/tcp.h", "arch/x86/include/asm/page.h")


def complete(root: Path, folder: str) -> None:
    write(root / folder, KCONFIG, AUTOCONF, "arch/x86/include/asm/page.h")


def test_debian_halves_become_one_tree(tmp_path):
    debian(tmp_path, "6.1.0-56")
    headers = find_headers("6.18.44", root=tmp_path, cache=tmp_path / "cache")
    assert headers is not None
    assert headers.release == "6.1.0-56-amd64"
    assert not headers.exact
    for name in (KCONFIG, AUTOCONF, "include/net/tcp.h", "arch/x86/include/asm/page.h"):
        assert (headers.path / name).is_file()
    generated = headers.path / "arch/x86/include/generated/asm/irq.h"
    assert generated.read_text().endswith("6.1.0-56-amd64/arch/x86/include/generated/asm/irq.h")
    assert headers.describe("6.18.44") == (
        "no headers for 6.18.44; using the nearest installed, 6.1.0-56-amd64"
    )


def test_of_two_files_the_first_tree_wins(tmp_path):
    write(tmp_path / "a", AUTOCONF, "include/both.h")
    write(tmp_path / "b", KCONFIG, "include/both.h")
    merged = merge_trees((tmp_path / "a", tmp_path / "b"), tmp_path / "merged")
    assert (merged / "include/both.h").read_text() == str(tmp_path / "a/include/both.h")


def test_headers_of_the_running_kernel_need_nothing(tmp_path):
    write(tmp_path / "lib/modules/6.1.0/build", AUTOCONF)
    assert not has_own_headers("6.1.0", root=tmp_path), "half of Debian's headers is not enough"
    write(tmp_path / "lib/modules/6.1.0/source", KCONFIG)
    assert has_own_headers("6.1.0", root=tmp_path)
    assert find_headers("6.1.0", root=tmp_path) is None


def test_kheaders_of_the_kernel_itself_are_enough(tmp_path):
    write(tmp_path, "sys/kernel/kheaders.tar.xz")
    assert find_headers("6.1.0", root=tmp_path) is None


def test_a_chosen_folder_is_left_to_bcc(tmp_path, monkeypatch):
    monkeypatch.setenv("BCC_KERNEL_SOURCE", str(tmp_path))
    assert find_headers("6.1.0", root=tmp_path) is None


@pytest.mark.parametrize(
    ("installed", "running", "nearest"),
    [
        (("5.10.0-9", "6.1.0-56", "6.12.3-1"), "6.18.44", "6.12.3-1"),
        (("5.10.0-9", "6.1.0-56", "6.12.3-1"), "5.15.90", "5.10.0-9"),
        (("6.1.0-2", "6.1.0-56"), "6.1.0-30", "6.1.0-56"),
        (("6.1.0-20", "6.1.0-40"), "6.1.0-30", "6.1.0-40"),
        (("6.8.0-9", "6.1.0-56"), "6.1.0-56", "6.1.0-56"),
    ],
)
def test_nearest_version(tmp_path, installed, running, nearest):
    for version in installed:
        complete(tmp_path, f"usr/src/linux-headers-{version}-generic")
    found = find_nearest_headers(f"{running}-cloud", root=tmp_path)
    assert found is not None
    assert found[0] == f"{nearest}-generic"


def test_real_time_headers_keep_to_their_own_common_folder(tmp_path):
    debian(tmp_path, "6.1.0-56", "amd64", "common")
    debian(tmp_path, "6.1.0-56", "rt-amd64", "common-rt")
    found = find_nearest_headers("6.1.0-56-rt-other", root=tmp_path)
    assert found is not None
    assert [tree.name for tree in found[1]] == [
        "linux-headers-6.1.0-56-rt-amd64",
        "linux-headers-6.1.0-56-common-rt",
    ]
    plain = find_nearest_headers("6.1.0-56-other", root=tmp_path)
    assert plain is not None
    assert plain[1][1].name == "linux-headers-6.1.0-56-common"


@pytest.mark.parametrize(
    "folder", ["usr/src/kernels/6.17.1-300.fc43.x86_64", "lib/modules/6.17.1-300.fc43.x86_64/build"]
)
def test_fedora_folders_are_used_as_they_are(tmp_path, folder):
    complete(tmp_path, folder)
    headers = find_headers("6.18.44", root=tmp_path)
    assert headers is not None
    assert headers.path == tmp_path / folder
    assert headers.release == "6.17.1-300.fc43.x86_64"


def test_no_headers_at_all_says_what_to_install(tmp_path):
    with pytest.raises(RequirementMissing, match="tracekit setup") as caught:
        find_headers("6.18.44", root=tmp_path)
    assert "no kernel headers are installed" in caught.value.fact


def test_two_processes_at_once_make_one_folder(tmp_path):
    debian(tmp_path, "6.1.0-56")
    program = (
        "import sys, pathlib; from tracekit.host.headers import find_headers;"
        "root = pathlib.Path(sys.argv[1]); sys.stdin.read();"
        "print(find_headers('6.18.44', root=root, cache=root / 'cache').path)"
    )
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(tmp_path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    outputs = [worker.communicate("")[0].strip() for worker in workers]
    assert outputs == [str(tmp_path / "cache/6.1.0-56-amd64")] * 4
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["6.1.0-56-amd64"]


def test_links_into_a_removed_package_are_made_anew(tmp_path):
    debian(tmp_path, "6.1.0-56")
    first = find_headers("6.18.44", root=tmp_path, cache=tmp_path / "cache")
    assert first is not None
    (first.path / "include/linux").unlink()
    again = find_headers("6.18.44", root=tmp_path, cache=tmp_path / "cache")
    assert again == first
    assert (first.path / KCONFIG).is_file()


def test_a_cache_on_a_closed_way_gives_way_to_the_temporary_folder(tmp_path):
    debian(tmp_path, "6.1.0-56")
    (tmp_path / "closed").mkdir(mode=0o000)
    program = (
        "import sys, pathlib; from tracekit.host.headers import find_headers;"
        "root = pathlib.Path(sys.argv[1]);"
        "print(find_headers('6.18.44', root=root, cache=root / 'closed/cache').path)"
    )
    # Root may search every folder; the same user without root's capabilities may not.
    drop = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] if os.geteuid() == 0 else []
    shown = subprocess.run(
        [*drop, sys.executable, "-c", program, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    made = tmp_path / f"tracekit-headers-{os.getuid()}/6.1.0-56-amd64"
    assert shown.stdout == f"{made}\n"
    assert (made / KCONFIG).is_file()
