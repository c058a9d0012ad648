"""Vectors of plans: the text of a plan and its digest, which stewards sign."""

from __future__ import annotations

import copy
import dataclasses
import json
import math
import tomllib

import msgspec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

import fedloom
from fedloom.common.digest import canonical_json
from fedloom.common.schema import Schema
from fedloom.common.study import parse_study
from fedloom.privacy.keys import public_key_hex
from fedloom.privacy.plan import Plan
from fedloom.privacy.resolve import resolve_plan
from tests.vectors.actors import COORDINATOR, SITES, Vector, bad

SCHEMA = """
[[column]]
name = "age"
kind = "integer"
min = 0
max = 99
nullable = true
[[column]]
name = "größe"
kind = "real"
min = 0.25
max = 2.5
bins = 5
[[column]]
name = "visited"
kind = "category"
values = ["no", "yes"]
"""
STUDY = """
[study]
name = "vectors"
schema = "schema.toml"
target = "visited"
[privacy]
epsilon = 3.0
delta = 1e-5
{privacy}
[model]
{model}
[evaluation]
share = 0.1
[release]
rows = 1000
title = "Größen"
[coordination]
timeout_s = 0.5
"""
STUDIES = {
    "counts at two sites": ("", 'kind = "mixture"\ncomponents = 8', ("east", "north")),
    "trained over a secure sum, for persons": (
        'unit = "person"\nid = "patient"\nrows_per_person = 3\noverlap = 2',
        'kind = "vae"\nhidden = 8\nlatent = 2\n[training]\nnum_rounds = 2\nsample_rate = 0.015625',
        ("east", "north", "south"),
    ),
}


def plan_of(name: str) -> Plan:
    """Resolves one of the studies; its price is rounded, as accountants differ in last digits."""
    privacy, model, sites = STUDIES[name]
    raw = tomllib.loads(STUDY.format(privacy=privacy, model=model))
    raw["coordinator"] = {"key": public_key_hex(COORDINATOR)}
    raw["site"] = [
        {
            "name": site,
            "key": public_key_hex(SITES[site]),
            "exchange-key": exchange_key(site),
            "records": 1000,
        }
        for site in sites
    ]
    study = parse_study(raw, Schema.from_dict(tomllib.loads(SCHEMA)))
    plan = resolve_plan(study, Schema.from_dict(tomllib.loads(SCHEMA)), version=fedloom.__version__)
    price = plan.stated_price
    rounded = msgspec.structs.replace(
        price,
        epsilon=math.ceil(price.epsilon * 1e5) / 1e5,
        epsilon_rdp=math.ceil(price.epsilon_rdp * 1e5) / 1e5,
    )
    return dataclasses.replace(plan, stated_price=rounded)


def exchange_key(site: str) -> str:
    key = X25519PrivateKey.from_private_bytes(f"vectors: exchange key {site:>10}".encode())
    return key.public_key().public_bytes_raw().hex()


def plans() -> Vector:
    good = []
    for name in STUDIES:
        plan = plan_of(name)
        text = canonical_json(plan.to_dict()).decode()
        loose = json.dumps(plan.to_dict(), indent=2)
        good.append({"name": name, "text": text, "digest": plan.digest()})
        good.append({"name": f"{name}, laid out", "text": loose, "digest": plan.digest()})
    first = good[0]
    text, body = first["text"], json.loads(first["text"])
    other = copy.deepcopy(body)
    other["privacy"]["epsilon"] = 3.5
    huge = text.replace('"rows":1000', '"rows":9007199254740993')
    return {
        "good": good,
        "bad": [
            bad(first, "another epsilon", "digest", "digest", text=canonical_json(other).decode()),
            bad(
                first,
                "a key twice",
                "format",
                "StudyError",
                text=text.replace('"fedloom":', '"format":4,"fedloom":', 1),
            ),
            bad(
                first,
                "a number that is none",
                "format",
                "StudyError",
                text=text.replace('"epsilon":3,', '"epsilon":NaN,'),
            ),
            bad(first, "a whole number beyond 2^53", "format", "StudyError", text=huge),
            bad(first, "cut short", "format", "StudyError", text=text[:-1]),
            bad(
                first,
                "an unknown key",
                "digest",
                "StudyError",
                text=canonical_json({**body, "note": ""}).decode(),
            ),
        ],
    }
