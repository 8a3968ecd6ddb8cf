"""What `mambascope` does: reads the command line, runs one command, and says in one line what went wrong.

Exit codes: 0 done; 1 a reproduction that gives other numbers; 2 something that the user can mend; 130 interrupted.
"""

import os
import sys
import warnings
from collections.abc import Sequence
from contextlib import suppress
from typing import Annotated

import tyro
from pydantic import ValidationError

from mambascope import __version__
from mambascope.cli.attention import Attention
from mambascope.cli.compare import Compare
from mambascope.cli.dataset import Dataset
from mambascope.cli.evaluate import Evaluate
from mambascope.cli.knockout import Knockout
from mambascope.cli.ledger import Ledger
from mambascope.cli.models import Models
from mambascope.cli.prompts import Prompts
from mambascope.cli.reproduce import Reproduce
from mambascope.cli.show import Show
from mambascope.cli.sweep import Sweep
from mambascope.cli.trace import Trace
from mambascope.cli.train import Train
from mambascope.errors import MambascopeError
from mambascope.options import wrong_option

INTERRUPTED = 130

Command = (
    Annotated[Trace, tyro.conf.subcommand("trace")]
    | Annotated[Knockout, tyro.conf.subcommand("knockout")]
    | Annotated[Attention, tyro.conf.subcommand("attention")]
    | Annotated[Ledger, tyro.conf.subcommand("ledger")]
    | Annotated[Sweep, tyro.conf.subcommand("sweep")]
    | Annotated[Show, tyro.conf.subcommand("show")]
    | Annotated[Compare, tyro.conf.subcommand("compare")]
    | Annotated[Reproduce, tyro.conf.subcommand("reproduce")]
    | Annotated[Prompts, tyro.conf.subcommand("prompts")]
    | Annotated[Dataset, tyro.conf.subcommand("dataset")]
    | Annotated[Evaluate, tyro.conf.subcommand("evaluate")]
    | Annotated[Models, tyro.conf.subcommand("models")]
    | Annotated[Train, tyro.conf.subcommand("train")]
)


def main(arguments: Sequence[str] | None = None) -> None:
    """The entry point; `arguments` defaults to the process's own."""
    warnings.formatwarning = _one_line
    code = run(sys.argv[1:] if arguments is None else arguments)
    if code == INTERRUPTED:
        # A library that was interrupted in the middle may abort when it is taken down; all of ours is put away by now.
        with suppress(OSError):  # nobody may be reading any more
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def run(arguments: Sequence[str]) -> int:
    """Run one command and return the exit code."""
    code = 0
    try:
        if list(arguments) == ["--version"]:
            print(f"mambascope {__version__}")
        else:
            code = parse(arguments).run() or 0
        sys.stdout.flush()
    except MambascopeError as error:
        return _failed(str(error))
    except ValidationError as error:
        return _failed(wrong_option(error, "--"))
    except KeyboardInterrupt as interrupt:
        print(f"mambascope: {str(interrupt) or 'interrupted'}", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of our output is gone (`mambascope ... | head`): nothing is wrong, and Python must not write more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return code


def parse(
    arguments: Sequence[str],
) -> (
    Trace
    | Attention
    | Knockout
    | Ledger
    | Sweep
    | Show
    | Compare
    | Reproduce
    | Prompts
    | Dataset
    | Evaluate
    | Models
    | Train
):
    """The command that the arguments describe; exits with 2 and a usage message if there is none."""
    return tyro.cli(
        Command,
        prog="mambascope",
        description="Opens state-space language models: where does a Mamba store a fact, by which route does it go?",
        args=list(arguments),
        config=(tyro.conf.FlagCreatePairsOff,),
    )


def _failed(message: str) -> int:
    print(f"mambascope: {' '.join(message.split())}", file=sys.stderr)
    return 2


def _one_line(message: Warning | str, *_: object, **__: object) -> str:
    return f"mambascope: warning: {message}\n"
