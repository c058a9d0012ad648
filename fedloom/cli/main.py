"""The command `fedloom`: its subcommands, and how errors become messages and exit codes.

A subcommand's module is imported when the subcommand is called, so `fedloom --help` and the
commands of an auditor start fast and need no torch.

Exit codes: 0 done, 1 a bug of ours, 2 unusable input, 3 refused by policy or budget,
4 verification failed, 5 incomplete but resumable, 130 interrupted.
"""

from __future__ import annotations

import difflib
import importlib
import os
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import click

from fedloom import __version__
from fedloom.cli.command_audit import CommandAudit
from fedloom.cli.output import print_error
from fedloom.common.errors import DiskFullError, FedloomError
from fedloom.common.event_log import FORMATS, LEVELS, configure, event, is_served
from fedloom.common.files import NOTHING_LOST, disk_is_full

__all__ = ["fedloom", "main"]

DEBUG_VARIABLE = "FEDLOOM_DEBUG"
INTERRUPTED = 130
BROKEN_PIPE = 141


class Entry(NamedTuple):
    """Where a subcommand lies, and what the list of commands says about it."""

    target: str
    help: str


COMMANDS = {
    "demo": Entry("fedloom.cli.demo:demo", "Run the example from six sites to a release."),
    "doctor": Entry("fedloom.cli.doctor:doctor", "Check that this machine meets the needs."),
    "schema": Entry("fedloom.cli.schema_cmd:schema", "Draft, check or learn a schema."),
    "study": Entry("fedloom.cli.study_cmd:study", "Check a study; print its plan and price."),
    "simulate": Entry("fedloom.cli.simulate_cmd:simulate", "Run a study with all sites here."),
    "rehearse": Entry(
        "fedloom.cli.rehearse_cmd:rehearse", "Rehearse a study with real servers on this machine."
    ),
    "site": Entry("fedloom.cli.site_cmd:site", "Run an institution: key, approval, vault."),
    "coordinator": Entry(
        "fedloom.cli.coordinator_cmd:coordinator", "Run a federation's coordinator: key, servers."
    ),
    "coordinate": Entry(
        "fedloom.cli.coordinate_cmd:coordinate", "Run an approved plan across institutions."
    ),
    "watch": Entry("fedloom.cli.coordinate_cmd:watch", "Show how a run stands, and follow it."),
    "stop": Entry("fedloom.cli.coordinate_cmd:stop", "End a run that is under way."),
    "runs": Entry("fedloom.cli.coordinate_cmd:runs", "List a coordinator's runs."),
    "budget": Entry("fedloom.cli.budget_cmd:budget", "Show what a site has spent and has left."),
    "ledger": Entry("fedloom.cli.ledger_cmd:ledger", "Verify a site's ledger."),
    "sample": Entry("fedloom.cli.sample_cmd:sample", "Draw records from a run or a release."),
    "impute": Entry("fedloom.cli.impute_cmd:impute", "Fill a table's missing values; free."),
    "complete": Entry("fedloom.cli.complete_cmd:complete", "Complete or enlarge images; free."),
    "infer": Entry("fedloom.cli.infer_cmd:infer", "Estimate from a release, with intervals; free."),
    "release": Entry("fedloom.cli.release_cmd:release", "Build or verify a signed release."),
}

# Modules that an extra brings, by the extra.
_EXTRAS = {
    "flwr": "train",
    "google": "train",
    "grpc": "train",
    "httpx": "train",
    "opacus": "train",
    "starlette": "train",
    "tensorboard": "train",
    "torch": "train",
    "uvicorn": "train",
}


class LazyGroup(click.Group):
    """A group that imports a subcommand's module only to run it."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Returns the names in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Imports and returns a subcommand, or returns None for an unknown name."""
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        module, _, attribute = entry.target.partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Finds the subcommand of `args`; an unknown one is answered with the nearest name."""
        name = args[0]
        if name not in COMMANDS and not name.startswith("-"):
            near = difflib.get_close_matches(name, COMMANDS, n=1)
            hint = f"did you mean {near[0]!r}?" if near else "see fedloom --help"
            ctx.fail(f"no command {name!r}; {hint}")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Runs the subcommand; whoever reads its output may stop reading at any time."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            # Or Python would complain when it flushes standard output at its exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            ctx.exit(BROKEN_PIPE)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the list of commands from the table, importing none of them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.help) for name, entry in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="fedloom", message="%(prog)s %(version)s")
@click.option("--log-format", type=click.Choice(FORMATS), help="Of what long-lived programs log.")
@click.option("--log-level", type=click.Choice(LEVELS), help="The least that they log.")
def fedloom(log_format: str | None, log_level: str | None) -> None:
    """Publish one synthetic data set from records that stay where they are.

    Exit codes: 0 done, 1 a bug of ours, 2 unusable input, 3 refused by policy or budget,
    4 verification failed, 5 incomplete but resumable, 130 interrupted.
    """
    configure(log_format, log_level)


def main(args: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit code; errors go to standard error.

    With `--json` among the arguments an error is printed as JSON on standard output too.
    """
    words = list(sys.argv[1:] if args is None else args)
    audit = CommandAudit(words)
    try:
        code = _carried_out(
            words,
            lambda: fedloom.main(args=words, prog_name="fedloom", standalone_mode=False, obj=audit),
        )
    except SystemExit as end:  # Flower's node ends so
        audit.end(end.code if isinstance(end.code, int) else int(end.code is not None))
        raise
    return _carried_out(words, lambda: audit.end(code)) or code


def _carried_out(words: list[str], act: Callable[[], Any]) -> int:
    """Returns the exit code of what was done for a command; its errors are printed."""
    as_json = "--json" in words
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _warn
            result = act()
        return result if isinstance(result, int) else 0
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return error.exit_code
    except click.ClickException as error:
        if isinstance(error, click.UsageError) and error.ctx is not None:
            click.echo(error.ctx.get_usage(), err=True)
        return _fail(f"Error: {error.format_message()}", error, error.exit_code, as_json)
    except FedloomError as error:
        full = isinstance(error, DiskFullError) and _resumes(words)
        text = f"Error: {error}{' with --resume' if full else ''}"
        return _fail(text, error, error.exit_code, as_json)
    except (KeyboardInterrupt, click.Abort) as error:
        _forget_the_interrupt()
        text = "Interrupted." + (" Go on by the same with --resume." if _resumes(words) else "")
        return _fail(text, error, INTERRUPTED, as_json)
    except Exception as error:
        return _unexpected(error, words, as_json)


def _forget_the_interrupt() -> None:
    """Lets the exit code of an interrupted command stand.

    CPython marks an interrupt that passed through a string under exec (dataclass writes its
    methods so, while torch is imported) as unhandled, although it is caught later: under
    `python -m` it then dies by the signal instead of returning our code. The next exec takes
    the mark away.
    """
    exec("")


def _warn(message: Warning | str, *_: Any, **__: Any) -> None:
    """Shows a warning as people read it, without the line of source that raised it."""
    if is_served():  # its text may quote what was read
        event("warning", level="warning", code=type(message).__name__)
        return
    click.echo(f"Warning: {message}", err=True)


def _resumes(words: Sequence[str]) -> bool:
    """Tells whether the command that the words name has the option --resume."""
    command: click.Command = fedloom
    for word in words:
        if not isinstance(command, click.Group):
            break
        command = command.get_command(click.Context(command), word) or command
    return any("--resume" in option.opts for option in command.params)


def _unexpected(error: Exception, words: Sequence[str], as_json: bool) -> int:
    root = (error.name or "").partition(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    extra = _EXTRAS.get(root)
    if extra is not None:
        text = f"Error: this needs {root}, which is not installed: pip install 'fedloom[{extra}]'"
        return _fail(text, error, 2, as_json)
    if disk_is_full(error):
        path = getattr(error, "filename", None)
        text = f"Error: the disk is full{f': {path} could not be written' if path else ''}; "
        text += NOTHING_LOST + (" with --resume" if _resumes(words) else "")
        return _fail(text, error, DiskFullError.exit_code, as_json)
    if isinstance(error, OSError) and error.filename is not None:
        text = f"Error: {error.filename}: {error.strerror}; check the path, and your rights to it"
        return _fail(text, error, 2, as_json)
    text = (
        f"This is a bug of fedloom: {type(error).__name__}: {error}\n"
        f"Set {DEBUG_VARIABLE}=1 to see where; please report it with that."
    )
    return _fail(text, error, 1, as_json)


def _fail(text: str, error: BaseException, exit_code: int, as_json: bool) -> int:
    if os.environ.get(DEBUG_VARIABLE) == "1":
        traceback.print_exception(error)
    print_error(text, code=type(error).__name__, exit_code=exit_code, as_json=as_json)
    return exit_code
