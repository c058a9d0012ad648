"""`serve` and `node` of a toy site: its vault signs what it is asked, its node is the real one."""

from __future__ import annotations

import os
from pathlib import Path

import click

from fedloom.cli.site_serve import node
from fedloom.client.vault_server import serve_until_stopped
from fedloom.common.messages import Answer, AnswerHeader, LedgerHead, Request, arrays_digest
from fedloom.common.vocabulary import Status
from fedloom.privacy.keys import load_private_key, sign


class ToyVault:
    def __init__(self, home: Path) -> None:
        self._home = home
        self._key = load_private_key(home / "key.pem")

    def largest_request(self) -> int:
        return 1 << 20

    def handle(self, data: bytes) -> bytes:
        with (self._home / "asked.log").open("a") as stream:
            stream.write(Request.unpack(data).query + "\n")
        header = AnswerHeader(
            site=self._home.name,
            status=Status.OK,
            request_digest="",
            nonce="",
            head=LedgerHead(seq=0, hash="0" * 64),
            arrays_digest=arrays_digest({}),
        )
        answer = Answer(header=header)
        signature = sign(self._key, answer.signed_bytes())
        return Answer(header=header, signature=signature).pack()


@click.command()
@click.option("--home", type=click.Path(path_type=Path))
@click.option("--socket", type=click.Path(path_type=Path))
def serve(home: Path, socket: Path) -> None:
    if (home / "broken").exists():
        click.echo("Error: ledger.db is damaged", err=True)
        os._exit(4)
    serve_until_stopped(ToyVault(home), socket, ready=click.echo)


if __name__ == "__main__":
    click.Group("site", commands={"serve": serve, "node": node})()
