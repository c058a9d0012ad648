from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.supercore.task_identity import TaskIdentity

from fedloom.client.app import ACTION, app
from fedloom.client.link import registered
from fedloom.common.messages import from_record, to_record

REPOSITORY = Path(__file__).resolve().parents[2]


class Reverse:
    def largest_request(self) -> int:
        return 1000

    def handle(self, data: bytes) -> bytes:
        return data[::-1]


class Failing:
    def handle(self, data: bytes) -> bytes:
        raise ValueError("record 17 has age ninety-three")


def ask(content: RecordDict, node_config: dict[str, str]) -> Message:
    TaskIdentity.task_id = TaskIdentity.run_id = TaskIdentity.node_id = 1
    message = Message(content, dst_node_id=2, message_type=f"query.{ACTION}", ttl=5.0)
    context = Context(
        run_id=1, node_id=2, node_config=node_config, state=RecordDict(), run_config={}
    )
    return app(message, context)


def test_the_vaults_answer_comes_back_as_it_is():
    with registered({"a": Reverse()}) as addresses:
        reply = ask(to_record(b"abc"), {"vault": addresses["a"]})
    assert from_record(reply.content) == b"cba"


@pytest.mark.parametrize("vault", ["failing", "absent", "unset"])
def test_whatever_fails_is_silence_without_a_word(vault, tmp_path, capfd):
    with registered({"failing": Failing()}) as addresses:
        config = {
            "failing": {"vault": addresses["failing"]},
            "absent": {"vault": f"unix:{tmp_path}/nobody.sock"},
            "unset": {},
        }[vault]
        reply = ask(to_record(b"abc"), config)
    assert not reply.has_error()
    assert from_record(reply.content) == b""
    assert list(reply.content) == ["fedloom"]
    assert "ninety-three" not in capfd.readouterr().err


def test_a_message_that_is_not_fedlooms_is_silence_too():
    with registered({"a": Reverse()}) as addresses:
        reply = ask(RecordDict({"other": ConfigRecord({})}), {"vault": addresses["a"]})
    assert from_record(reply.content) == b""


_SHIM = """
import os, sys
home = sys.argv[2]
opened = []
sys.addaudithook(lambda event, args: opened.append(str(args[0])) if event == "open" else None)
from flwr.app import Context, Message, RecordDict
from flwr.supercore.task_identity import TaskIdentity
from fedloom.client.app import app
from fedloom.common.messages import from_record, to_record
TaskIdentity.task_id = TaskIdentity.run_id = TaskIdentity.node_id = 1
message = Message(to_record(b"abc"), dst_node_id=2, message_type="query.fedloom", ttl=5.0)
context = Context(run_id=1, node_id=2, node_config={"vault": sys.argv[1]}, state=RecordDict(),
                  run_config={})
assert from_record(app(message, context).content) == b"cba"
heavy = {"torch", "pandas", "opacus", "sqlalchemy", "scipy", "sklearn"} & set(sys.modules)
assert not heavy, heavy
assert opened, "the audit hook saw nothing"
assert not [path for path in opened if path.startswith(home)], opened
"""


def test_the_shim_imports_no_torch_and_opens_no_file_of_the_home(tmp_path_factory):
    from fedloom.client.vault_server import VaultServer

    home = tmp_path_factory.mktemp("home")
    (home / "records.csv").write_text("age\n93\n")
    folder = tmp_path_factory.mktemp("v")
    folder.chmod(0o700)
    with VaultServer(Reverse(), folder / "v.sock") as server:
        command = [sys.executable, "-c", _SHIM, server.address, str(home)]
        done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
