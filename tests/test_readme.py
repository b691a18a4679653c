import re
import subprocess
import sys
from pathlib import Path

import pytest

import tracekit as tk

CHECKOUT = Path(__file__).parents[1]
README = (CHECKOUT / "README.md").read_text(encoding="utf-8")
EXAMPLE = re.search(r"```python\n(.*?)```", README, re.DOTALL)[1]
OUTPUT = re.search(r"```text\n(.*?)```", README, re.DOTALL)[1]


def test_what_it_links_to_is_there():
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", README)
    assert targets
    assert [t for t in targets if not (CHECKOUT / t).exists()] == []


def test_every_chapter_is_in_the_table():
    linked = re.findall(r"\]\(notebooks/([^)]+\.ipynb)\)", README)
    assert linked == sorted(path.name for path in (CHECKOUT / "notebooks").glob("*.ipynb"))


def test_every_verb_exists():
    verbs = set(re.findall(r"python3 -m tracekit (\w+)", README))
    usage = subprocess.run(
        [sys.executable, "-m", "tracekit", "--help"], capture_output=True, text=True, cwd=CHECKOUT
    )
    assert {"lab", "test"} <= verbs
    assert [verb for verb in verbs if not re.search(rf"^ +{verb} ", usage.stdout, re.M)] == []


@pytest.mark.live(level="L3")
def test_the_example_prints_what_the_readme_says():
    run = subprocess.run(
        [sys.executable, "-c", EXAMPLE], capture_output=True, text=True, timeout=120, cwd=CHECKOUT
    )
    assert run.returncode == 0, run.stderr
    offset, holes, window, summary, *_ = run.stdout.splitlines()
    fmt = tk.read_format("tcp:tcp_probe")
    assert offset == str(fmt["snd_cwnd"].offset)
    assert holes == str(fmt.holes)
    largest, dropped = window.split()
    assert int(largest) > 10  # where every connection begins (RFC 6928): the window grew
    assert dropped == "0"
    # The rest differs from run to run, but not in its form.
    written = OUTPUT.splitlines()
    numbers = re.compile(r"[\d,]+")
    assert numbers.sub("n", summary.split(" · live")[0]) == numbers.sub(
        "n", written[3].split(" · live")[0]
    )
    # How many columns fit beside each other depends on the longest name of a process.
    assert _columns(run.stdout.splitlines()[4:]) == _columns(written[4:])


def _columns(table):
    return table[0].split() + re.findall(r"\w+", " ".join(_also(table)))


def _also(table):
    """The lines from "also:" to the one that says how many events are not shown."""
    begin = next((n for n, line in enumerate(table) if line.startswith("also: ")), len(table))
    end = next(n for n, line in enumerate(table) if line.startswith("and "))
    return [line.removeprefix("also: ") for line in table[begin:end]]
