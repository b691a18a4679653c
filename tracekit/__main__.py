"""The command line, ``python3 -m tracekit VERB``: it starts with the standard library alone.

``lab`` and ``test`` set up everything they need first; ``doctor`` says what is there.
"""

# An older Python must be able to read this file, in order to say that it is too old:
# no syntax younger than Python 3.7 here, and no import of tracekit above the check.
from __future__ import annotations

import argparse
import os
import shutil
import sys

_OLDEST = (3, 11)


def _main() -> int:
    if sys.version_info < _OLDEST:
        return _find_newer_python()
    from tracekit.errors import TracekitError

    try:
        status = run_verb(sys.argv[1:])
        sys.stdout.flush()
        return status
    except TracekitError as error:
        sys.stdout.flush()
        print(f"tracekit: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        # The reader has seen enough: "list | head".
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 130


def _find_newer_python() -> int:
    for name in ("python3.13", "python3.12", "python3.11"):
        python = shutil.which(name)
        if python:
            os.execv(python, [python, "-m", "tracekit"] + sys.argv[1:])  # noqa: RUF005
    print(
        "tracekit: this is Python {}.{}; needed is 3.11, 3.12 or 3.13\n"
        "  next: install one of them, python3.11 for example, and start it instead of python3;\n"
        "        or use conda: conda env create -f environment.yml".format(*sys.version_info[:2]),
        file=sys.stderr,
    )
    return 1


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="python3 -m tracekit",
        description="Linux kernel tracepoints with eBPF and bcc, taught live in Jupyter.",
        allow_abbrev=False,
    )
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)

    def add(name: str, text: str) -> argparse.ArgumentParser:
        return verbs.add_parser(name, help=text, description=text, allow_abbrev=False)

    def add_dry_run(verb: argparse.ArgumentParser) -> None:
        verb.add_argument("--dry-run", action="store_true", help="print what would be done")

    lab = add("lab", "set up what is missing, then open JupyterLab on the first chapter")
    lab.add_argument("--user", default="", help="for root: the user to start JupyterLab as")
    lab.add_argument("--port", help="port of the server")
    lab.add_argument("--ip", help="address the server listens on (its own machine only)")
    lab.add_argument("--no-browser", action="store_true", help="print the address, open nothing")
    lab.epilog = "Whatever follows -- goes to jupyter lab."
    add_dry_run(lab)
    test = add("test", "set up what is missing, then run the tests")
    test.epilog = "All other options go to pytest. TRACEKIT_MODE=live makes a skip a failure."
    add_dry_run(test)
    add_dry_run(add("setup", "set up what is missing: packages, mounts, environment"))
    doctor = add("doctor", "say what works on this machine, and what to do about the rest")
    doctor.add_argument("--json", action="store_true", help="one JSON object")
    listing = add("list", "list the tracepoints of this kernel")
    listing.add_argument("pattern", nargs="?", default="*", help="for example 'tcp:*'")
    show = add("show", "show what a tracepoint's records look like")
    show.add_argument("tracepoint", metavar="CATEGORY:EVENT")
    show.add_argument("--kernel", help="a kernel of the catalogue instead of this one")
    run = add("run", "run one of the programs in bpf/ until Ctrl-C")
    run.add_argument("program", metavar="PROGRAM", help="for example tcp_probe_simple")
    script = add("script", "print one of the programs in bpf/ as a script for bcc alone")
    script.add_argument("program", metavar="PROGRAM", help="for example tcp_probe")
    claims = add("claims", "list what the document says, and what was found on this kernel")
    claims.add_argument("--json", action="store_true", help="one JSON list")
    return parser


def run_verb(arguments: list[str]) -> int:
    """Do what the command line says; return the exit status."""
    parser = build_parser()
    chosen, rest = parser.parse_known_args(arguments)
    if rest and chosen.verb not in ("lab", "test"):
        parser.error("unknown arguments: {}".format(" ".join(rest)))
    rest = [word for position, word in enumerate(rest) if position or word != "--"]
    if chosen.verb == "doctor":
        from tracekit.host import doctor

        return doctor.main(json_wanted=chosen.json)
    if chosen.verb == "setup":
        from tracekit.host.commands import say
        from tracekit.host.setup import setup

        failures = setup(dry_run=chosen.dry_run, thorough=True)
        if not chosen.dry_run and not failures:
            say("ready: python3 -m tracekit lab")
        return 1 if failures else 0
    if chosen.verb == "lab":
        return _lab(chosen, rest)
    if chosen.verb == "test":
        return _test(chosen, rest)
    no_kernel = chosen.verb in ("claims", "script")
    needs_tracefs = not no_kernel and getattr(chosen, "kernel", None) is None
    status = _in_environment(arguments, needs_tracefs, needs_programs=chosen.verb == "run")
    if status is not None:
        return status
    if chosen.verb == "run":
        from tracekit.capture.run import main as run_program

        return run_program(chosen.program) or 0
    if chosen.verb == "script":
        from tracekit.capture.run import print_script

        return print_script(chosen.program)
    if chosen.verb == "claims":
        from tracekit.lesson import claims

        return claims.main(json=chosen.json)
    import tracekit

    if chosen.verb == "list":
        found = [str(name) for name in tracekit.find_tracepoints(chosen.pattern)]
        print("\n".join(found))
        return 0 if found else 1
    print(tracekit.read_format(chosen.tracepoint, kernel=chosen.kernel))
    return 0


def _lab(chosen: argparse.Namespace, rest: list[str]) -> int:
    from tracekit.host.lab import jupyter_words, launch, needs_sudo, plan_launch
    from tracekit.host.setup import SudoRefused, setup

    options = ["--no-browser"] if chosen.no_browser else []
    options += ["--port=" + chosen.port] if chosen.port else []
    options += ["--ip=" + chosen.ip] if chosen.ip else []
    reason = "start JupyterLab as you, with CAP_BPF and CAP_PERFMON" if needs_sudo() else ""
    failures = setup(frozenset(), dry_run=chosen.dry_run, also_as_root=reason)
    plan = plan_launch(
        jupyter_words([*options, *rest]),
        user=chosen.user,
        root_option="--allow-root",
        sudo=not any(isinstance(failure, SudoRefused) for failure in failures),
        dry_run=chosen.dry_run,
    )
    return launch(plan, dry_run=chosen.dry_run)


def _test(chosen: argparse.Namespace, rest: list[str]) -> int:
    from tracekit.host.lab import launch, needs_sudo, plan_launch, python_words
    from tracekit.host.setup import SudoRefused, setup

    reason = "run the live tests as you, with CAP_BPF and CAP_PERFMON" if needs_sudo() else ""
    failures = setup(frozenset({"test"}), dry_run=chosen.dry_run, also_as_root=reason)
    plan = plan_launch(
        [*python_words(), "-m", "pytest", *rest],
        may_be_root=True,
        sudo=not any(isinstance(failure, SudoRefused) for failure in failures),
        dry_run=chosen.dry_run,
    )
    return launch(plan, dry_run=chosen.dry_run)


def _in_environment(arguments: list[str], needs_tracefs: bool, needs_programs: bool) -> int | None:
    # Start this verb once more where it can work; None when that is here.
    from tracekit.host import environment, lab, rights
    from tracekit.host.setup import setup

    right = not needs_tracefs or rights.may_read_tracefs()
    right = right and (not needs_programs or rights.may_load_programs())
    # What could not be had on the way here can't be had on a second one.
    right = right or bool(os.environ.get(lab.LAUNCHED))
    here = environment.in_environment() or environment.is_running()
    if here and right:
        return None
    if not here and not environment.is_current(frozenset()):
        setup(frozenset())
    words = [*lab.python_words(), "-m", "tracekit", *arguments]
    if right:
        plan = lab.Launch(tuple(words), "", wait=False)
    else:
        plan = lab.plan_launch(words, may_be_root=True, needs_programs=needs_programs)
    return lab.launch(plan, quiet=True)


if __name__ == "__main__":
    sys.exit(_main())
