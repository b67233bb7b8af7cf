"""The `wmark` command as a process: what must hold before anything else is imported.

An interrupt ends it with 130 and no traceback, whenever it comes, and the numbers of closed standard streams are not
given to the next file that is opened. Everything else about its exit codes stands in :mod:`wmark.commands.exits`.
"""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType
from typing import NoReturn

INTERRUPTED = 130


def main() -> NoReturn:
    """Run the command line and leave with its exit code."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # Else it is ignored, as by nohup.
        signal.signal(signal.SIGINT, interrupt)
    code = INTERRUPTED
    try:
        occupy_closed_streams()
        from .cli import main as wmark

        wmark()
    except KeyboardInterrupt:
        pass
    except SystemExit as end:
        code = end.code
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # What is left is Python's own tidying up; the answer stands.
    sys.exit(code)


def interrupt(number: int, frame: FrameType | None) -> None:
    """End at once while modules are imported, which may swallow the exception or turn it into another."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            os._exit(INTERRUPTED)
        frame = frame.f_back
    raise KeyboardInterrupt


def occupy_closed_streams() -> None:
    """Open what was closed (`>&-`): complaints go nowhere, reading and writing fail as before."""
    for number, name, flags, mode in (
        (0, "stdin", os.O_WRONLY, "r"),
        (1, "stdout", os.O_RDONLY, "w"),
        (2, "stderr", os.O_WRONLY, "w"),
    ):
        if getattr(sys, name) is None:
            opened = os.open(os.devnull, flags)
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)
            setattr(sys, name, os.fdopen(number, mode, closefd=False))


if __name__ == "__main__":
    main()
