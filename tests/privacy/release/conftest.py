"""A plan of a secure sum between four sites, and what tests of its numbers share."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from dp_accounting import GaussianDpEvent
from dp_accounting.pld import PLDAccountant

from fedloom.privacy.accounting import steps_of
from fedloom.privacy.keys import generate_key, public_key_hex
from fedloom.privacy.release.account import account_of
from fedloom.privacy.release.statement import make_statement


def gaussian_epsilon(*noises, delta=1e-5):
    accountant = PLDAccountant()
    for noise in noises:
        accountant.compose(GaussianDpEvent(noise))
    return accountant.get_epsilon(delta)


def plan_noises(plan):
    noises = []
    for step, count in steps_of([plan.event()]).items():
        noises += [step.noise_multiplier] * count
    return noises


@pytest.fixture
def secure_keys(tmp_path, fake):
    return {name: generate_key(tmp_path / f"{name}.secure.pem") for name in fake.MORE_SITES}


@pytest.fixture
def secure(fake, secure_keys):
    """Makes a secure plan, or also the statement of its run."""
    keys = {name: public_key_hex(key) for name, key in secure_keys.items()}

    def plan(**options):
        return fake.make_secure_plan(keys, **options)

    def accounts(plan, attempts=None, rosters=None):
        """What the ledgers show; `attempts` by site and round, `rosters` by request."""
        return {
            name: account_of(
                fake.make_extract(
                    key, plan, name, attempts=(attempts or {}).get(name), rosters=rosters
                ),
                plan,
                fake.RUN,
                name,
            )
            for name, key in secure_keys.items()
        }

    def stated(**options):
        made = plan(**options)
        return made, make_statement(made, accounts(made))

    return SimpleNamespace(plan=plan, accounts=accounts, stated=stated)


@pytest.fixture(scope="session")
def closed_form():
    """Epsilon of Gaussians by another road, and the noise multipliers of a plan."""
    return SimpleNamespace(epsilon=gaussian_epsilon, noises=plan_noises)
