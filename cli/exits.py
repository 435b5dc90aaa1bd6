"""Exit codes, which scripts may rely on, and the errors that lead to them.

Light to import: everything that `paydown --help` needs loads quickly.
"""

from __future__ import annotations

FINE = 0
UNEXPECTED = 1
USAGE = 2
INVALID = 3
NOT_FOUND = 4
CONFLICT = 5
UNREACHABLE = 6
NEEDS_ATTENTION = 7
INTERRUPTED = 130
BROKEN_PIPE = 141

MEANINGS = {
    FINE: "done",
    UNEXPECTED: "an error that should not happen; PAYDOWN_DEBUG=1 shows where",
    USAGE: "the command line is wrong",
    INVALID: "a document or an event is refused; every fault is named with its path",
    NOT_FOUND: "no such run, toil type, version, stack or file",
    CONFLICT: "things are not as the command needs them: somebody was faster, --expect does not hold, a run lives",
    UNREACHABLE: "AWS cannot be reached, or does not permit it",
    NEEDS_ATTENTION: "`status --check`, `doctor`: something needs attention; `connect`: nothing came",
}


class CommandError(Exception):
    """A command cannot do what it was asked to; the message is for the operator."""

    code = UNEXPECTED


class UsageError(CommandError):
    """The arguments make no sense together."""

    code = USAGE


class NotFoundError(CommandError):
    """What was named does not exist."""

    code = NOT_FOUND


class UnreachableError(CommandError):
    """AWS, or the local stack, cannot be reached or does not permit it."""

    code = UNREACHABLE
