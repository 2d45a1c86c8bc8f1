"""The one place where errors become a message, a remedy and an exit code."""

import os
import sys
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass
from errno import EACCES, EDQUOT, ENOSPC, EPERM, EROFS

from rich.text import Text
from typer import Abort, BadParameter

from clora_ext.errors import Cancelled, CloraError, SettingsError, ToldElsewhere, UsageError

from .following import Unheard, is_said_by_first, speaker
from .output import Output
from .stopping import Interrupted
from .wording import printable

__all__ = ["FAILED", "STOPPED", "USAGE", "Failure", "failure", "guarded"]

FAILED = 1
USAGE = 2
STOPPED = 130

# Typer once used click and now carries its own copy of it; either way, this is the class of everything
# that it finds wrong with a command line.
_WRONG_CALL = BadParameter.__mro__[1]
_REFUSED = {EACCES, EDQUOT, ENOSPC, EPERM, EROFS}
_AGAIN = "nothing was left half done; run the same command again"
_REPORT = "please report it with these lines, the command and the version (clora --version)"


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a call did not do what was asked.

    Attributes:
        kind: name of the error's class.
        message: what is wrong.
        fix: what to do about it; may be empty.
        exit_code: 1 failed, 2 wrong call, 130 stopped.
        trace: where clora itself went wrong; empty for everything that it understands.
    """

    kind: str
    message: str
    fix: str
    exit_code: int
    trace: str = ""


def failure(error: BaseException) -> Failure:
    """What to say about ``error``."""
    kind = type(error).__name__
    if isinstance(error, CloraError):
        return _understood(error)
    if isinstance(error, _WRONG_CALL):
        return _wrong_call(error)
    if isinstance(error, (Interrupted, KeyboardInterrupt, Abort)):
        return Failure(
            "Cancelled", "stopped at once", "the project is whole; run the same command again", STOPPED
        )
    if isinstance(error, OSError) and error.errno in _REFUSED:
        where = f"{error.filename}: " if error.filename else ""
        return Failure(kind, f"{where}{error.strerror}", "free some space or check the permissions", FAILED)
    trace = "".join(traceback.format_exception(error))
    return Failure(kind, f"this is a bug in clora: {kind}: {error}", _REPORT, FAILED, trace)


def _understood(error: CloraError) -> Failure:
    """What the engine itself has to say."""
    kind = type(error).__name__
    if isinstance(error, Cancelled):
        return Failure(kind, error.message, error.fix or _AGAIN, STOPPED)
    message = _each(error.problems) if isinstance(error, SettingsError) else error.message
    return Failure(kind, message, error.fix, USAGE if isinstance(error, UsageError) else FAILED)


def guarded(run: Callable[[], object], output: Output) -> int:
    """Run a call, report what goes wrong, and give its exit code."""
    try:
        code = run()
        sys.stdout.flush()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else FAILED
    except BrokenPipeError:
        # The reader of our output has gone (`clora status | head`): nobody is left to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except ToldElsewhere as stopped:
        failed = failure(stopped.__cause__ or stopped)
        return _report(failed, output) if failed.trace else failed.exit_code
    except Unheard as stopped:
        return _report(failure(stopped.__cause__ or stopped), output)
    except BaseException as error:  # noqa: BLE001 - the boundary: nothing may pass it
        failed = failure(error)
        return failed.exit_code if is_said_by_first() else _report(failed, output)
    return code if isinstance(code, int) else 0


def _report(failed: Failure, output: Output) -> int:
    """Tell people on stderr, and programs on stdout."""
    console = output.meanwhile
    if failed.trace:
        console.print(printable(failed.trace), soft_wrap=True, style="dim")
    if failed.exit_code == STOPPED:
        console.print(Text(printable(failed.message), "yellow"), soft_wrap=True)
    else:
        message = printable(f"{speaker()}{failed.message}")
        line = Text.assemble(("error: ", "bold red"), (message, "red"))
        console.print(line, soft_wrap=True)
    if failed.fix:
        console.print(printable(failed.fix), soft_wrap=True)
    if output.as_json:
        output.error(asdict(failed))
    return failed.exit_code


def _each(problems: tuple[str, ...]) -> str:
    """One problem as it is, several as a list."""
    return problems[0] if len(problems) == 1 else "\n".join(["", *(f"  - {each}" for each in problems)])


def _wrong_call(error: BaseException) -> Failure:
    """What Typer found wrong with the command line, and which help to read."""
    describe = getattr(error, "format_message", error.__str__)
    context = getattr(error, "ctx", None)
    program = getattr(context, "command_path", "clora")
    message = str(describe()).strip().rstrip(".")
    return Failure("UsageError", message[:1].lower() + message[1:], f"see {program} --help", USAGE)
