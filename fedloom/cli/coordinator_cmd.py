"""`fedloom coordinator`: the commands of whoever asks the sites."""

from __future__ import annotations

import json
from pathlib import Path

import click

__all__ = ["coordinator"]


@click.group()
def coordinator() -> None:
    """Be a study's coordinator: the key that signs its requests."""


@coordinator.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="print the key as JSON")
def keygen(file: Path, as_json: bool) -> None:
    """Make the key FILE if it is missing, and print its public half for the study.

    The key signs every request to the sites, and the release. Who has the file can ask the sites
    for all that their stewards approved.
    """
    from fedloom.privacy.keys import fingerprint, generate_key, load_private_key, public_key_hex

    key = public_key_hex(load_private_key(file) if file.exists() else generate_key(file))
    if as_json:
        click.echo(json.dumps({"key": key, "fingerprint": fingerprint(key)}, indent=2))
    else:
        click.echo(f'[coordinator]\nkey = "{key}"  # {fingerprint(key)}')
