"""The command line: it starts under any Python 3, and says what it would do."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tracekit.__main__ import build_parser

ROOT = Path(__file__).parents[1]
VERBS = ("lab", "test", "setup", "doctor", "list", "show", "run", "script")


def tracekit(
    *words: str, python: str = sys.executable, **changes: str
) -> subprocess.CompletedProcess:
    environment = {**os.environ, **changes}
    environment.pop("TRACEKIT_LAUNCHED", None)
    return subprocess.run(
        [python, "-m", "tracekit", *words],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment,
        check=False,
    )


def test_help_names_every_verb():
    shown = tracekit("--help").stdout
    for verb in VERBS:
        assert re.search(rf"^    {verb} ", shown, re.MULTILINE)


def test_the_first_file_can_be_read_by_an_old_python():
    # Python 3.7 has to get as far as saying that it is too old.
    for name in ("__main__.py", "__init__.py"):
        ast.parse((ROOT / "tracekit" / name).read_text(), feature_version=(3, 7))


def test_an_old_python_is_told_what_to_install(monkeypatch, capsys):
    import tracekit.__main__ as command_line

    monkeypatch.setattr(command_line.sys, "version_info", (3, 10, 12))
    monkeypatch.setattr(command_line.shutil, "which", lambda name: None)
    assert command_line._main() == 1
    assert "this is Python 3.10; needed is 3.11, 3.12 or 3.13" in capsys.readouterr().err


def test_an_old_python_starts_a_newer_one(monkeypatch):
    import tracekit.__main__ as command_line

    def replaced(*call):
        raise SystemExit(call)

    monkeypatch.setattr(command_line.sys, "version_info", (3, 10, 12))
    monkeypatch.setattr(command_line.sys, "argv", ["tracekit", "doctor"])
    monkeypatch.setattr(command_line.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(command_line.os, "execv", replaced)
    with pytest.raises(SystemExit) as caught:
        command_line._main()
    newest = "/usr/bin/python3.13"
    assert caught.value.code == (newest, [newest, "-m", "tracekit", "doctor"])


@pytest.mark.parametrize("verb", ["lab", "test", "setup"])
def test_dry_run_prints_commands_and_changes_nothing(verb, tmp_path):
    # A checkout without an environment, the case in which most is to be done.
    checkout = tmp_path / "checkout"
    shutil.copytree(
        ROOT / "tracekit", checkout / "tracekit", ignore=shutil.ignore_patterns("__pycache__")
    )
    (checkout / "notebooks").mkdir()
    shutil.copy(ROOT / "pyproject.toml", checkout)
    before = sorted(checkout.rglob("*"))
    shown = subprocess.run(
        [Path(sys.executable).resolve(), "-B", "-m", "tracekit", verb, "--dry-run"],
        capture_output=True,
        text=True,
        cwd=checkout,
        check=True,
    )
    assert sorted(checkout.rglob("*")) == before
    commands = [line.strip() for line in shown.stdout.splitlines()]
    assert any(f"-m venv --clear {checkout}/.venv" in command for command in commands)
    assert any("-m pip install" in command for command in commands)
    if verb != "setup":
        module = {"lab": "jupyterlab", "test": "pytest"}[verb]
        assert f"{checkout}/.venv/bin/python -m {module}" in commands[-1]


def test_lab_opens_the_first_chapter_with_the_options_given():
    shown = tracekit("lab", "--dry-run", "--port", "9999", "--no-browser", "--", "--debug")
    last = shown.stdout.splitlines()[-1]
    assert "--LabApp.default_url=/lab/tree/notebooks/01-format-files.ipynb" in last
    assert last.index("--no-browser") < last.index("--port=9999") < last.index("--debug")


def test_test_passes_its_options_to_pytest():
    shown = tracekit("test", "--dry-run", "-k", "some thing", "-x", "--co")
    assert shown.stdout.splitlines()[-1].endswith("-m pytest -k 'some thing' -x --co")


def test_other_verbs_refuse_unknown_options():
    shown = tracekit("doctor", "--jsn")
    assert shown.returncode == 2
    assert "--jsn" in shown.stderr


def test_abbreviations_are_not_guessed():
    with pytest.raises(SystemExit):
        build_parser().parse_args(["show", "tcp:tcp_probe", "--ker", "x"])


def test_doctor_prints_one_json_object():
    report = json.loads(tracekit("doctor", "--json").stdout)
    assert report["level"] in ("none", "L0", "L1", "L2", "L3")
    assert len(report["checks"]) > 10
    for check in report["checks"]:
        assert set(check) == {"name", "ok", "fact", "remedy"}
        assert check["fact"]
        assert not (check["ok"] and check["remedy"])


def test_show_another_kernels_format():
    shown = tracekit("show", "random:urandom_read", "--kernel", "ubuntu-20.04_5.4")
    assert shown.returncode == 0
    assert "got_bits" in shown.stdout


def test_script_prints_a_program_for_bcc_alone():
    shown = tracekit("script", "tcp_probe")
    assert shown.returncode == 0
    calls = {ast.unparse(node.func) for node in ast.walk(ast.parse(shown.stdout)) if is_call(node)}
    assert {"BPF", "b['events'].open_perf_buffer", "b.perf_buffer_poll"} <= calls
    # what to type is no part of the file
    assert "tcp_probe.py" in shown.stderr
    assert tracekit("script", "tcp_probe.c").stdout == shown.stdout


def is_call(node: ast.AST) -> bool:
    return isinstance(node, ast.Call)


def test_script_of_a_program_that_is_not_there():
    shown = tracekit("script", "nothing")
    assert (shown.returncode, shown.stdout) == (1, "")
    assert "no program 'nothing'" in shown.stderr
    assert "tcp_probe_simple" in shown.stderr


def test_an_error_is_a_fact_and_a_next_step():
    shown = tracekit("show", "tcp:no_such_event", "--kernel", "debian-12_6.12")
    assert shown.returncode == 1
    assert shown.stdout == ""
    first, second = shown.stderr.splitlines()[-2:]
    assert first.startswith("tracekit: no tracepoint tcp:no_such_event")
    assert second.startswith("  next: ")


@pytest.mark.live(level="L1")
def test_list_prints_names_and_stands_a_closed_pipe():
    shown = tracekit("list", "tcp:tcp_prob?")
    assert shown.stdout.splitlines() == ["tcp:tcp_probe"]
    assert tracekit("list", "no_such:*").returncode == 1
    piped = subprocess.run(
        f"{sys.executable} -m tracekit list | head -1",
        shell=True,
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=True,
    )
    assert piped.stdout.count("\n") == 1
    assert piped.stderr == ""
