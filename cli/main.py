"""The command line: parses it, runs one command, and turns errors into exit codes.

A command's module is imported when it runs, since `--help` and mistakes deserve an answer at once.
"""

from __future__ import annotations

import argparse
import importlib
import io
import os
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from cli import exits
from cli.output import Output, plain

SOURCES = ("alertmanager", "github", "harbor", "registry", "roundup")
"""The senders of webhooks, as `paydown.sources` has them, which takes longer to import than `--help` may."""


def main(argv: Sequence[str] | None = None, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> int:
    """Run one command; returns its exit code."""
    parser = make_parser()
    try:
        args = parser.parse_args(argv)
    except SystemExit as error:
        return int(error.code or 0)
    out = Output(sys.stdout, sys.stderr, wants_json=args.json)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        code = _run(args, out, now)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read our output has gone; Python would complain of it once more at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return exits.BROKEN_PIPE
    except KeyboardInterrupt:
        return exits.INTERRUPTED
    except Exception as error:  # noqa: BLE001 -- an operator gets a message, not a stack trace
        return _explained(error, out)
    return code


def _run(args: argparse.Namespace, out: Output, now: Callable[[], datetime]) -> int:
    from cli.session import Session

    module, function = args.run.split(":")
    run: Callable[[Session], int] = getattr(importlib.import_module(f"cli.{module}"), function)
    return run(Session(args, out, now))


def _explained(error: Exception, out: Output) -> int:
    from cli.failures import explain

    if os.environ.get("PAYDOWN_DEBUG"):
        import traceback

        for line in traceback.format_exception(error):
            print("\n".join(map(plain, line.rstrip().splitlines())), file=sys.stderr)
    failure = explain(error)
    out.error(failure.message, failure.code, failure.faults)
    return failure.code


class _Help(argparse.RawDescriptionHelpFormatter):
    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=26)


def make_parser() -> argparse.ArgumentParser:
    """The whole command line."""
    epilog = "exit codes:\n" + "\n".join(f"  {code}  {meaning}" for code, meaning in exits.MEANINGS.items())
    parser = argparse.ArgumentParser(
        prog="paydown",
        description="Operate Paydown: see what it does and why, stop it, and publish its policy and inventory.",
        epilog=epilog,
        formatter_class=_Help,
        parents=[_options_of_every_command()],
        allow_abbrev=False,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version")
    parser.set_defaults(
        json=False, stack=None, profile=None, region=None, endpoint_url=None, local=False, by=None, toil=None
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    everywhere = _options_of_every_command()  # of their own: setting defaults changed those of the parser above

    def add(name: str, run: str, help: str, group: Any = commands) -> argparse.ArgumentParser:
        command: argparse.ArgumentParser = group.add_parser(
            name, help=help, description=help, parents=[everywhere], formatter_class=_Help, allow_abbrev=False
        )
        command.set_defaults(run=run)
        return command

    status = add("status", "status:run", "what is switched on, what is going on, what needs attention")
    status.add_argument("--check", action="store_true", help="exit with 7 if something needs attention")

    _add_health(add)
    _add_runs(add)
    explain = add("explain", "explain:run", "everything about one run: its event, plan, reasons, journal and outcome")
    explain.add_argument("id", metavar="RUN", help="its id, or the beginning of it")
    explain.add_argument("--all", action="store_true", help="every action, however many there are")

    _add_approvals(add)
    stop = add("stop", "switches:stop", "stop a toil type, or everything: nothing is begun any more")
    stop.add_argument("toil", metavar="TOIL", nargs="?", help="the toil type; everything if none is named")
    stop.add_argument("--why", required=True, help="for the record, and for the runs that it stops")
    resume = add("resume", "switches:resume", "take one switch back")
    resume.add_argument("toil", metavar="TOIL", nargs="?", help="the toil type; the switch for everything if none")
    resume.add_argument("--why", default="", help="for the record")
    for command in (stop, resume):
        command.add_argument("--by", help="who says so; the caller's ARN if not given")

    for kind in ("policy", "inventory"):
        _add_document(add, commands, kind)

    send = add("send", "send:run", "put an event on the bus, or into the queue of one toil type")
    send.add_argument("file", metavar="EVENT.json", help="an EventBridge envelope; - reads it from stdin")
    send.add_argument("--toil", metavar="NAME", help="into this toil type's queue instead (AWS's own events)")
    send.add_argument("--fresh", action="store_true", help="with a key and time of its own, so that it is no repeat")

    advise = add("advise", "advise:run", "what was last advised on the layers of an image")
    advise.add_argument("image", metavar="IMAGE", help="registry/repository[:tag]; the tag latest if none is named")
    advise.add_argument("--sarif", action="store_true", help="print it as SARIF 2.1.0")

    _add_findings(add)
    _add_undo_and_export(add)
    _add_drain(add)
    _add_dead_letters(add, commands)

    schema = add("schema", "schemas:run", "the JSON schema of a document, of our events, or of an export")
    schema.add_argument("kind", choices=["policy", "inventory", "events", "export"])
    return parser


def _options_of_every_command() -> argparse.ArgumentParser:
    """They may stand before the command or after it; SUPPRESS, so that one place does not undo the other."""
    parser = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS, allow_abbrev=False)
    options = parser.add_argument_group("everywhere")
    options.add_argument("--json", action="store_true", help="print JSON")
    options.add_argument("--stack", metavar="NAME", help="the stack; else $PAYDOWN_STACK, or paydown")
    options.add_argument("--profile", metavar="NAME", help="of the AWS configuration")
    options.add_argument("--region", metavar="NAME")
    options.add_argument("--endpoint-url", metavar="URL", help="of an emulator")
    options.add_argument("--local", action="store_true", help="the application on this machine (make run)")
    return parser


def _add_health(add: Callable[..., argparse.ArgumentParser]) -> None:
    doctor = add("doctor", "doctor:run", "what is wrong, and what to do about it; exits with 7 if something is")
    doctor.add_argument("--all", action="store_true", help="what is fine too")
    connect = add("connect", "connect:run", "a sender's secret and configuration, and a first request of it")
    connect.add_argument("source", metavar="SOURCE", choices=SOURCES, help=f"one of {', '.join(SOURCES)}")
    connect.add_argument("--rotate", action="store_true", help="make a new secret; the old one stays good beside it")
    where = connect.add_mutually_exclusive_group()
    where.add_argument("--show-secret", action="store_true", help="print the secret too")
    where.add_argument("--output", metavar="FILE", help="write it all to a new file that only you may read")
    waiting = connect.add_mutually_exclusive_group()
    waiting.add_argument("--wait", metavar="SECONDS", type=_number, default=300, help="for a request; 300")
    waiting.add_argument("--no-wait", action="store_true", help="do not wait for a request")


def _add_approvals(add: Callable[..., argparse.ArgumentParser]) -> None:
    add("held", "approvals:held", "the plans that wait for a person: how long, until when, and who may decide")
    for verb in ("approve", "reject"):
        what = "it goes on" if verb == "approve" else "it ends"
        command = add(verb, f"approvals:{verb}", f"{verb} the plan that a run is held with, as yourself: {what}")
        command.add_argument("id", metavar="RUN", help="its id, or the beginning of it")
        command.add_argument("--fingerprint", metavar="F", help="which plan is meant; needed where nobody can be asked")
        command.add_argument("--why", required=verb == "reject", help="for the record")


def _add_runs(add: Callable[..., argparse.ArgumentParser]) -> None:
    runs = add("runs", "runs:run", "the newest runs")
    runs.add_argument("--toil", metavar="TOIL", help="of this toil type")
    runs.add_argument(
        "--status",
        metavar="STATUS",
        action="append",
        default=[],
        help="with this status or outcome, or `alive` or `ended`; may be given several times",
    )
    runs.add_argument("--target", metavar="TARGET", help="about this target: host/NAME, a uid; * and ? match any text")
    runs.add_argument("--since", metavar="TIME", default="31d", help="begun since: 30m, 12h, 7d, or ISO 8601; 31d")
    runs.add_argument("--limit", metavar="N", type=_positive, default=50, help="at most so many; 50")


def _add_findings(add: Callable[..., argparse.ArgumentParser]) -> None:
    findings = add("findings", "findings:run", "what is wrong at present, however many events said so")
    findings.add_argument("--toil", metavar="TOIL", help="of this toil type")
    snooze = add("snooze", "findings:snooze", "let one finding be quiet for a while")
    snooze.add_argument("finding", metavar="FINDING", help="its id, or the beginning of it")
    snooze.add_argument("--for", metavar="TIME", dest="duration", help="30m, 12h, 7d")
    snooze.add_argument("--off", action="store_true", help="let it speak again")
    snooze.add_argument("--why", help="for the record")
    snooze.add_argument("--by", help="who says so; the caller's ARN if not given")


def _add_undo_and_export(add: Callable[..., argparse.ArgumentParser]) -> None:
    undo = add("undo", "undo:run", "take back what an ended run left half-done")
    undo.add_argument("id", metavar="RUN", help="its id, or the beginning of it")
    undo.add_argument("--why", default="", help="for the record")
    undo.add_argument("--by", help="who says so; the caller's ARN if not given")
    export = add("export", "export:run", "runs with their logs, plans and decisions, as JSON Lines")
    export.add_argument("--since", metavar="TIME", help="as for runs; everything that the ledger keeps if not given")
    export.add_argument("--until", metavar="TIME", help="30m, 12h, 7d ago, or ISO 8601; now")
    export.add_argument("--toil", metavar="TOIL", help="of this toil type")
    export.add_argument(
        "--outcome", metavar="OUTCOME", action="append", default=[], help="that ended so; may be given several times"
    )


def _add_drain(add: Callable[..., argparse.ArgumentParser]) -> None:
    drain = add("drain", "drain:run", "bring everything to rest, and take back what is half-done: before an uninstall")
    drain.add_argument("--yes", action="store_true", help="do not ask, unless something is left that needs a person")
    drain.add_argument("--force", action="store_true", help="do not ask at all")
    drain.add_argument("--seconds", metavar="N", type=_positive, default=300, help="wait so long for each step; 300")
    drain.add_argument("--by", help="who says so; the caller's ARN if not given")


def _add_dead_letters(add: Callable[..., argparse.ArgumentParser], commands: Any) -> None:
    about = "list, read or send again the messages that nobody could handle"
    letters = commands.add_parser("dead-letters", help=about, description=about, formatter_class=_Help)
    group = letters.add_subparsers(title="commands", metavar="COMMAND", required=True)
    listed = add("list", "dead_letters:run", "what lies in the two dead-letter queues, and what is wrong", group)
    listed.add_argument("--toil", metavar="TOIL", help="of this toil type")
    listed.add_argument("--limit", metavar="N", type=_positive, default=1_000, help="at most so many; 1000")
    show = add("show", "dead_letters:show", "one message, whole", group)
    show.add_argument("id", metavar="ID", help="its id, or the beginning of it")
    for redrive in (
        add("redrive", "dead_letters:redrive", "send messages to where they came from", group),
        add("redrive", "dead_letters:redrive", "send dead letters to where they came from: dead-letters redrive"),
    ):
        redrive.add_argument("ids", metavar="ID", nargs="*", help="their ids, or the beginnings of them")
        redrive.add_argument("--all", action="store_true", help="all that there are")
        redrive.add_argument("--toil", metavar="TOIL", help="with --all: only those of this toil type")


def _add_document(add: Callable[..., argparse.ArgumentParser], commands: Any, kind: str) -> None:
    group = commands.add_parser(
        kind, help=f"publish or show the {kind}", description=f"publish or show the {kind}", formatter_class=_Help
    ).add_subparsers(title="commands", metavar="COMMAND", required=True)
    publish = add("publish", "documents:publish", f"check a {kind} and put it in force", group)
    publish.add_argument("file", metavar="FILE", help="JSON or YAML; - reads it from stdin")
    publish.add_argument("--expect", metavar="N", type=_number, help="only if version N is in force (0: none)")
    publish.add_argument("--dry-run", action="store_true", help="only check it")
    publish.add_argument("--by", help="who publishes it; the caller's ARN if not given")
    show = add("show", "documents:show", f"print the {kind} in force", group)
    show.add_argument("--version", metavar="N", dest="number", type=_positive, help="print another version")
    for command in (publish, show):
        command.set_defaults(kind=kind)


def _positive(text: str) -> int:
    if (number := _number(text)) < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise argparse.ArgumentTypeError(f"{text!r} is no number")
    return int(text)


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from cli.version import version

        print(version())
        parser.exit()
