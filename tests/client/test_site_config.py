from __future__ import annotations

import pytest

from fedloom.client.site_config import SiteConfig, template
from fedloom.common.errors import ConfigError

GOOD = template(name="north", source='path = "records.csv"', epsilon=3.0, delta=1e-5)


def loaded(tmp_path, text: str) -> SiteConfig:
    (tmp_path / "site.toml").write_text(text)
    return SiteConfig.load(tmp_path / "site.toml")


def test_the_template_can_be_used_as_it_is(tmp_path):
    config = loaded(tmp_path, GOOD)
    assert (config.name, config.device) == ("north", "cpu")
    assert config.source.path == tmp_path / "records.csv"
    assert (config.policy.epsilon, config.policy.delta) == (3.0, 1e-5)


def test_what_is_commented_out_can_be_said(tmp_path):
    config = loaded(tmp_path, GOOD.replace("# models =", "models =").replace("# min_s", "min_s"))
    assert config.policy.models == ("tree", "mixture") and config.policy.min_sites == 3


@pytest.mark.parametrize("device", ["cpu", "cuda", "cuda:1", "auto"])
def test_devices(tmp_path, device):
    assert loaded(tmp_path, GOOD.replace('"cpu" ', f'"{device}" ')).device == device


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("[policy]", "[policies]", r"section \[policies\].*policy"),
        ("[source]", "[policy.source]", "unknown key 'source'"),
        ('[source]\npath = "records.csv"\n', "", r"section \[source\]"),
        ('name = "north"', "", "needs name"),
        ('name = "north"', 'name = ""', r"\[site\] name = ''"),
        ('name = "north"', 'name = "north"\nport = 3', "port"),
        ('"cpu" ', '"gpu" ', "cuda:1"),
        ("epsilon = 3.0", "epsilon = -3.0", "epsilon"),
        ("epsilon = 3.0", "", "epsilon"),
        ('path = "records.csv"', 'file = "records.csv"', "source"),
        ("[site]", "[site", "not a TOML file"),
    ],
)
def test_a_wrong_file_names_what_is_wrong(tmp_path, old, new, words):
    assert old in GOOD
    with pytest.raises(ConfigError, match=words):
        loaded(tmp_path, GOOD.replace(old, new))


PIN = f'\n[peers.south]\nkey = "{"a1" * 32}"\nexchange-key = "{"b2" * 32}"\n'


def test_other_sites_keys_are_pinned(tmp_path):
    assert loaded(tmp_path, GOOD).peers == {}
    peer = loaded(tmp_path, GOOD + PIN).peers["south"]
    assert (peer.key, peer.exchange_key) == ("a1" * 32, "b2" * 32)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("b2" * 32, "b2" * 31),
        ("exchange-key", "exchange_key"),
        ("\nkey =", "\nport = 3\nkey ="),
        ("[peers.south]", "[peers]"),
    ],
)
def test_a_pin_that_is_none_is_named(tmp_path, old, new):
    with pytest.raises(ConfigError, match="peers"):
        loaded(tmp_path, GOOD + PIN.replace(old, new))


def test_a_missing_file_says_how_to_begin(tmp_path):
    with pytest.raises(ConfigError, match="fedloom site init"):
        SiteConfig.load(tmp_path / "site.toml")
