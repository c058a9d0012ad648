from __future__ import annotations

import importlib.util
import itertools
import subprocess
import sys
from pathlib import Path

import pytest

from fedloom.client.link import VaultUnavailableError, connect, registered
from fedloom.client.link.chunks import CHUNK_BYTES, MessageTooLargeError, join, split
from fedloom.client.link.sockets import MAX_PATH_BYTES, default_socket, prepare_socket
from fedloom.common.errors import ConfigError
from fedloom.common.protocol.vault_pb2 import Chunk

REPOSITORY = Path(__file__).resolve().parents[2]


class Echo:
    def handle(self, data: bytes) -> bytes:
        return b"echo " + data


@pytest.mark.parametrize("size", [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, 2 * CHUNK_BYTES + 1])
def test_chunks_carry_a_message_whole_and_are_never_larger_than_a_megabyte(size):
    data = bytes(size // 2) + b"x" * (size - size // 2)
    chunks = list(split(data))
    assert join(chunks, size) == data
    assert all(0 < len(chunk.data) <= 1_000_000 for chunk in chunks)


def test_no_more_is_read_than_a_message_may_have():
    read = []

    def endless():
        while True:
            read.append(len(read))
            yield Chunk(data=b"x" * CHUNK_BYTES)

    with pytest.raises(MessageTooLargeError):
        join(endless(), 3 * CHUNK_BYTES)
    assert len(read) == 4


def test_crumbs_that_never_end_are_not_gathered():
    with pytest.raises(MessageTooLargeError):
        join((Chunk(data=b"") for _ in itertools.count()), 3 * CHUNK_BYTES)


def test_in_process_vaults_are_found_while_registered_and_not_by_another_simulation():
    with registered({"a": Echo()}) as first, registered({"a": Echo()}) as second:
        assert first["a"] != second["a"]
        assert connect(first["a"]).handle(b"hello") == b"echo hello"
    with pytest.raises(VaultUnavailableError, match="no vault is registered"):
        connect(first["a"])


@pytest.mark.parametrize("address", ["", "unix:relative.sock", "inproc:", "tcp:127.0.0.1:80"])
def test_other_addresses_are_refused(address):
    with pytest.raises(ConfigError, match="unix:/absolute/path"):
        connect(address)


def test_default_socket_depends_on_the_home_alone_and_fits(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    one, two = tmp_path / "home" / "one", tmp_path / "home" / "two"
    assert default_socket(one) == default_socket(tmp_path / "home" / "." / "one")
    assert default_socket(one) != default_socket(two)
    assert default_socket(one).parent == tmp_path / "fedloom"


def test_a_long_path_is_refused_with_its_length_and_a_remedy(tmp_path):
    path = tmp_path / ("x" * MAX_PATH_BYTES)
    with pytest.raises(ConfigError, match=r"at most 107 bytes.*--socket"):
        prepare_socket(path)


def test_a_folder_that_others_may_enter_is_refused_and_left_as_it_is(tmp_path):
    folder = tmp_path / "open"
    folder.mkdir(mode=0o755)
    folder.chmod(0o755)
    with pytest.raises(ConfigError, match="mode 0700"):
        prepare_socket(folder / "v.sock")
    assert folder.stat().st_mode & 0o777 == 0o755


def test_a_folder_that_is_a_link_is_refused(tmp_path):
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(ConfigError, match="mode 0700"):
        prepare_socket(tmp_path / "link" / "v.sock")


@pytest.mark.skipif(
    importlib.util.find_spec("grpc_tools") is None, reason="grpcio-tools is not installed"
)
def test_generated_code_is_that_of_the_proto_file(tmp_path):
    source = "fedloom/common/protocol"
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{source}=common/protocol"]
    command += [f"--python_out={tmp_path}", f"--pyi_out={tmp_path}", f"{source}/vault.proto"]
    subprocess.run(command, cwd=REPOSITORY, check=True)
    for name in ("vault_pb2.py", "vault_pb2.pyi"):
        committed = (REPOSITORY / "common/protocol" / name).read_text()
        assert (tmp_path / source / name).read_text() == committed
