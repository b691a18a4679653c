"""Imports go one way, and importing tracekit is cheap."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "tracekit"
# Each room, and the rooms of tracekit it may import from, besides itself and errors.
MAY_IMPORT = {
    "errors": set(),
    "tracepoints": set(),
    "host": set(),
    "traffic": set(),
    "capture": {"tracepoints", *(f"host.{leaf}" for leaf in ("headers", "interpreters", "rights"))},
    "lesson": {"tracepoints", "capture", "traffic"},
}
# Of what is not tracekit's: host installs the rest, so it has the standard library only.
OUTSIDE = {"host": set(), "errors": set(), "tracepoints": {"numpy"}}
MODULES = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py"))


def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse((PACKAGE / path).read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            # "from tracekit.host import rights" imports tracekit.host.rights.
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("path", [path for path in MODULES if path.parent.name], ids=str)
def test_imports_go_one_way(path):
    room = path.parts[0]
    for name in imported(path):
        top, _, rest = name.partition(".")
        if top == "tracekit":
            allowed = {room, "errors"} | MAY_IMPORT[room]
            assert any(f"{rest}.".startswith(f"{way}.") for way in allowed), f"{path}: {name}"
        elif room in OUTSIDE:
            assert top in sys.stdlib_module_names | OUTSIDE[room], f"{path}: {name}"


def test_only_the_worker_imports_bcc():
    have_it = [
        str(path) for path in MODULES if any(n.split(".")[0] == "bcc" for n in imported(path))
    ]
    assert have_it == ["capture/worker.py"]


def test_importing_tracekit_loads_the_standard_library_only():
    program = (
        "import sys; before = set(sys.modules); import tracekit;print(*(set(sys.modules) - before))"
    )
    shown = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=True
    )
    loaded = {name.partition(".")[0] for name in shown.stdout.split()}
    assert "tracekit" in loaded
    assert loaded - {"tracekit"} <= sys.stdlib_module_names
