"""Exit codes and messages of the command line, its help, and that it starts without torch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from fedloom.cli import main as command_line
from fedloom.cli.main import COMMANDS, Entry, main
from fedloom.common import errors

ROOT = Path(__file__).resolve().parent.parent.parent


def fedloom_process(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "fedloom", *words]
    environment = {**os.environ, **variables}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)


@pytest.fixture
def raising(monkeypatch):
    """Makes `fedloom fail` raise a given exception."""

    def plant(error: BaseException) -> None:
        @click.command()
        @click.option("--json", "as_json", is_flag=True)
        def fail(as_json: bool) -> None:
            raise error

        monkeypatch.setattr(command_line, "planted", fail, raising=False)
        monkeypatch.setitem(COMMANDS, "fail", Entry("fedloom.cli.main:planted", ""))

    return plant


@pytest.mark.parametrize(
    "error, exit_code",
    [
        (errors.SchemaError("column 'age' has no max; add one"), 2),
        (errors.BudgetExceededError("0.5 left, 3 asked"), 3),
        (errors.LedgerError("entry 7 was changed"), 4),
        (errors.QuorumError("2 of 6 sites answered; run again with --resume"), 5),
        (errors.FedloomError("ours"), 1),
        (KeyboardInterrupt(), 130),
        (click.Abort(), 130),
    ],
)
def test_an_error_becomes_its_exit_code_and_a_short_message(raising, capsys, error, exit_code):
    raising(error)
    assert main(["fail"]) == exit_code
    printed = capsys.readouterr()
    assert printed.out == ""
    assert str(error) in printed.err
    assert "Traceback" not in printed.err
    assert len(printed.err.strip().splitlines()) <= 2


INTERRUPTED_IN_EXEC = """
import sys, click
from fedloom.cli import main as command_line
from fedloom.cli.main import COMMANDS, Entry

@click.command()
def planted():
    exec("raise KeyboardInterrupt")

command_line.planted = planted
COMMANDS["fail"] = Entry("fedloom.cli.main:planted", "")
sys.exit(command_line.main(["fail"]))
"""


def test_an_interrupt_inside_executed_text_ends_with_its_exit_code_too(tmp_path):
    (tmp_path / "interrupted.py").write_text(INTERRUPTED_IN_EXEC)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    words = [sys.executable, "-m", "interrupted"]
    ended = subprocess.run(words, env=environment, capture_output=True)
    assert ended.returncode == 130 and b"Interrupted" in ended.stderr


def test_with_json_an_error_is_json_on_standard_output(raising, capsys):
    raising(errors.PolicyError("model 'gan' is not allowed here"))
    assert main(["fail", "--json"]) == 3
    assert json.loads(capsys.readouterr().out) == {
        "error": "model 'gan' is not allowed here",
        "code": "PolicyError",
        "exit_code": 3,
    }


def test_anything_else_is_a_bug_of_ours_and_says_how_to_see_it(raising, capsys, monkeypatch):
    raising(ZeroDivisionError("division by zero"))
    monkeypatch.delenv("FEDLOOM_DEBUG", raising=False)
    assert main(["fail"]) == 1
    message = capsys.readouterr().err
    assert "bug of fedloom" in message and "FEDLOOM_DEBUG=1" in message
    assert "Traceback" not in message
    monkeypatch.setenv("FEDLOOM_DEBUG", "1")
    assert main(["fail"]) == 1
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize("module", ["torch.nn", "google.protobuf"])
def test_a_missing_extra_is_named(raising, capsys, module):
    raising(ModuleNotFoundError(f"No module named {module!r}", name=module))
    assert main(["fail"]) == 2
    assert "pip install 'fedloom[train]'" in capsys.readouterr().err


def test_a_module_of_ours_that_is_missing_is_a_bug(raising):
    raising(ModuleNotFoundError("No module named 'fedloom.x'", name="fedloom.x"))
    assert main(["fail"]) == 1


@pytest.mark.parametrize("words", [["stdy"], ["--nonsense"], ["study", "check"], ["sample"]])
def test_wrong_usage_is_unusable_input(words, capsys):
    assert main(words) == 2
    assert capsys.readouterr().err.startswith("Usage: fedloom")


def test_an_unknown_command_is_answered_with_the_nearest(capsys):
    main(["stdy"])
    assert "did you mean 'study'?" in capsys.readouterr().err


def test_help_and_version_exit_with_zero(capsys):
    assert main(["--help"]) == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name in COMMANDS)
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("fedloom 0.")


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_is_there_and_has_help(name, capsys):
    assert main([name, "--help"]) == 0
    assert f"fedloom {name}" in capsys.readouterr().out


# What takes tenths of a second to import, or seconds.
_SLOW = ["cryptography", "dp_accounting", "flwr", "grpc", "jinja2", "numpy", "opacus", "pandas"]
_SLOW += ["pyarrow", "rich", "scipy", "sqlalchemy", "torch"]


def loaded(code: str) -> set[str]:
    """Returns the top-level modules that a program has loaded at its end."""
    code += "\nimport sys; print(*{name.split('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split())


def test_help_loads_nothing_that_is_slow_to_import():
    assert loaded("from fedloom.cli.main import main; main(['--help'])") & set(_SLOW) == set()


def test_no_command_loads_torch_while_it_is_imported():
    names = loaded(
        "import importlib; from fedloom.cli.main import COMMANDS;"
        "[importlib.import_module(e.target.split(':')[0]) for e in COMMANDS.values()]"
    )
    assert "click" in names and names & {"torch", "flwr", "opacus"} == set()


def test_a_closed_pipe_is_no_bug():
    command = f"{sys.executable} -m fedloom doctor --json | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True)
    assert "bug" not in done.stderr and "Traceback" not in done.stderr
    assert done.returncode in (0, 141)


@pytest.mark.filterwarnings("default:the ledger leaves:UserWarning")
def test_a_warning_is_told_without_its_source(monkeypatch, capsys):
    import warnings

    from fedloom.cli import main as module

    def warned(**_):
        warnings.warn("the ledger leaves that price out", stacklevel=1)
        return 0

    monkeypatch.setattr(module.fedloom, "main", warned)
    assert module.main(["doctor"]) == 0
    assert capsys.readouterr().err == "Warning: the ledger leaves that price out\n"


def options_of(command: click.Command, path: str) -> list[tuple[str, click.Option]]:
    """Every option that is shown, of a command and of all below it, by where it stands."""
    found = [
        (f"{path} {option.opts[0]}", option)
        for option in command.params
        if isinstance(option, click.Option) and not option.hidden
    ]
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            found += options_of(below, f"{path} {name}")
    return found


def test_the_help_of_every_option_is_a_sentence():
    found = options_of(command_line.fedloom, "fedloom")
    assert len(found) > 80
    for where, option in found:
        text = option.help or ""
        lower_case = text[:1].islower() and not text.startswith("cpu, cuda")
        assert text.endswith((".", "?")) and not lower_case, f"{where}: {text!r}"
