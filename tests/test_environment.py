"""environment.yml is true for a conda user, and says the same as pyproject.toml."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml
from rattler import MatchSpec

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
ENVIRONMENT = yaml.safe_load((ROOT / "environment.yml").read_text())


def conda_lines() -> list[str]:
    return [line for line in ENVIRONMENT["dependencies"] if isinstance(line, str)]


def pip_lines() -> list[str]:
    (pip,) = [line["pip"] for line in ENVIRONMENT["dependencies"] if isinstance(line, dict)]
    return pip


def bounds(requirement: str) -> tuple[str, frozenset[str]]:
    name, versions = re.fullmatch(r"([A-Za-z0-9_.-]+?)\s*([<>=!~].*)?", requirement).groups()
    return name.lower(), frozenset(filter(None, (versions or "").replace(" ", "").split(",")))


@pytest.mark.parametrize("line", conda_lines())
def test_every_line_is_a_valid_conda_match_spec(line):
    spec = MatchSpec(line, strict=True)
    assert spec.name.normalized == bounds(line)[0]


def test_strict_parsing_refuses_what_conda_would():
    with pytest.raises(Exception, match=r"parse|invalid|version"):
        MatchSpec("bqplot = = 0.13", strict=True)


def test_names_and_versions_are_those_of_pyproject():
    conda = dict(map(bounds, conda_lines()))
    assert conda.pop("pip") == frozenset()
    assert conda.pop("python") == bounds(f"python{PROJECT['requires-python']}")[1]
    assert conda == dict(map(bounds, PROJECT["dependencies"]))


def test_only_conda_forge_is_asked():
    assert ENVIRONMENT["channels"] == ["conda-forge", "nodefaults"]


def test_pip_installs_the_checkout_and_nothing_else():
    assert pip_lines() == ["--editable ."]


def test_bcc_comes_from_the_distribution():
    names = {bounds(line)[0] for line in (*conda_lines(), *PROJECT["dependencies"])}
    for extra in PROJECT["optional-dependencies"].values():
        names |= {bounds(line)[0] for line in extra}
    assert not names & {"bcc", "python-bcc", "libbcc", "libbpf", "bpftool", "bpfcc"}
    assert "python3-bpfcc" in (ROOT / "environment.yml").read_text()
