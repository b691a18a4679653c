"""Say what works here, at which level, and the exact command for what does not.

It changes nothing: it looks.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Iterable
from dataclasses import asdict

from tracekit.host.requirements import (
    LEVELS,
    REQUIREMENTS,
    Check,
    check_all,
    level_reached,
)

__all__ = ("as_json", "as_text", "main")


def as_json(checks: Iterable[Check]) -> str:
    """Write one JSON object: ``level``, ``kernel`` and the list ``checks``.

    Each check is an object with ``name``, ``ok``, ``fact`` and ``remedy``.
    """
    checks = list(checks)
    report = {
        "level": level_reached(checks),
        "kernel": platform.release(),
        "checks": [asdict(check) for check in checks],
    }
    return json.dumps(report, indent=2, ensure_ascii=False)


def as_text(checks: Iterable[Check]) -> str:
    """Write a table for people: level, name, ``ok`` or ``missing``, fact; the remedy below it."""
    checks = list(checks)
    table = {requirement.name: requirement for requirement in REQUIREMENTS}
    width = max((len(check.name) for check in checks), default=0)
    lines = []
    for check in checks:
        word = "ok" if check.ok else "missing"
        start = f"{table[check.name].level:2}  {check.name:{width}}  "
        purpose = "" if check.ok else f" (needed for {table[check.name].needed_for})"
        lines.append(f"{start}{word:7}  {check.fact}{purpose}")
        if check.remedy:
            lines.append(f"{'':{len(start)}}next:    {check.remedy}")
    reached = level_reached(checks)
    lines += ["", f"level reached: {reached}{_meaning(reached)}"]
    return "\n".join(lines)


def _meaning(reached: str) -> str:
    names = list(LEVELS)
    position = names.index(reached) if reached in names else -1
    works = [LEVELS[name] for name in names[: position + 1]]
    lacks = [LEVELS[name] for name in names[position + 1 :]]
    text = f" on Linux {platform.release()}" if works else ""
    text += f" ({', '.join(works)})" if works else ""
    return text + (f"; not yet: {', '.join(lacks)}" if lacks else "")


def main(*, json_wanted: bool = False) -> int:
    """Print the report; the exit status is 0, because the report is what was asked for.

    It is about what ``lab`` starts, which may have more rights than the shell doctor runs in.
    """
    checks = check_all(through_lab=True)
    print(as_json(checks) if json_wanted else as_text(checks))
    return 0
