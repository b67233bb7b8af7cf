"""How the command ends: every outcome has a code, and everything that goes wrong one sentence.

`wmark verify` says "not marked" with 1, so nothing else may: neither an error of our own, nor a reader that went away.
"""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import NoReturn

import click

from ..errors import WmarkError
from ..files import reason, shown
from .terminal import complain

__all__ = ["CLOSED", "CODES", "INTERRUPTED", "NOT_FOUND", "OK", "UNEXPECTED", "UNUSABLE", "Program", "summary", "trace"]

OK, NOT_FOUND, UNUSABLE, UNEXPECTED, INTERRUPTED, CLOSED = 0, 1, 2, 70, 130, 141

# What click raises since 8.2 for a command that is nothing without arguments: its message is a page of help.
HELP_IN_PLACE_OF_ARGUMENTS = getattr(click.exceptions, "NoArgsIsHelpError", ())

CODES = (
    f"Exit codes: {OK} done, or every image is marked; {NOT_FOUND} an image is not marked; {UNUSABLE} an argument or a "
    f"file cannot be used; {UNEXPECTED} anything else went wrong; {INTERRUPTED} interrupted; {CLOSED} whoever read the "
    "output went away."
)


class Program(click.Group):
    """The outermost group: imports its commands when they are asked for, and ends with one of the codes.

    Arguments:
        commands: Import strings `.module:attribute`, relative to the package, by the name of the command.
    """

    def __init__(self, *args, commands: Mapping[str, str], **extra) -> None:
        super().__init__(*args, **extra)
        self.homes = dict(commands)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.homes)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in self.homes:
            return None
        module, _, attribute = self.homes[name].partition(":")
        return getattr(import_module(module, __package__.partition(".")[0]), attribute)

    def main(self, args: Sequence[str] | None = None, prog_name: str | None = None, **extra) -> NoReturn:
        """Parse, run and leave. click's own ending knows the codes 0, 1 and 2 only."""
        if "_WMARK_COMPLETE" in os.environ:
            super().main(args, "wmark", **extra)
        code = self.outcome(list(sys.argv[1:] if args is None else args))
        discard_unwritten()
        sys.exit(code)

    def outcome(self, args: list[str]) -> int:
        """Run, say what is wrong if anything is, and return the code."""
        debug = os.environ.get("WMARK_DEBUG", "") not in ("", "0")
        with contextlib.suppress(AttributeError):  # A stream that is no file, in tests.
            sys.stdout.reconfigure(errors="backslashreplace")
        try:
            with self.make_context("wmark", args) as ctx:
                debug = ctx.params["debug"]
                code = self.invoke(ctx) or OK
            sys.stdout.flush()
            return code
        except click.exceptions.Exit as end:
            return end.exit_code
        except (click.Abort, KeyboardInterrupt):
            complain("interrupted")
            return INTERRUPTED
        except Exception as error:
            if debug:
                complain(*traceback.format_exc().splitlines())
            return fail(error)


def fail(error: Exception) -> int:
    """Say what went wrong; returns the code for it."""
    if isinstance(error, HELP_IN_PLACE_OF_ARGUMENTS):
        complain(*error.format_message().splitlines())
        return UNUSABLE
    if isinstance(error, click.ClickException):
        if isinstance(error, click.UsageError) and error.ctx:
            complain(*error.ctx.get_usage().splitlines(), f"Try '{error.ctx.command_path} --help' for help.", "")
        complain(f"Error: {error.format_message()}")
        return error.exit_code if error.exit_code != NOT_FOUND else UNUSABLE
    if isinstance(error, WmarkError):
        complain(f"Error: {error}")
        return UNUSABLE
    if isinstance(error, BrokenPipeError):
        return CLOSED
    if isinstance(error, OSError):
        named = error.filename is not None
        complain(f"Error: {error.filename if named else 'a stream'} cannot be read or written: {reason(error)}")
        return UNUSABLE if named else UNEXPECTED
    complain(f"Error: {summary(error)}: run again as `wmark --debug ...` to see where, and report it")
    return UNEXPECTED


def trace(error: Exception) -> list[str]:
    """The lines of a traceback, without the values of variables; none unless `--debug` asks for them."""
    if not click.get_current_context().find_root().params["debug"]:
        return []
    return "".join(traceback.format_exception(error)).splitlines()


def summary(error: Exception) -> str:
    """An unexpected exception in half a line."""
    if isinstance(error, MemoryError):
        return "the memory does not suffice"
    first = str(error).strip().partition("\n")[0][:200]
    return shown(f"unexpected {type(error).__name__}: {first}" if first else f"unexpected {type(error).__name__}")


def discard_unwritten() -> None:
    """Send what nobody took nowhere, so that Python doesn't fail on it at the very end."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
