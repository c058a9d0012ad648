"""The secure sum between real vaults: what opens, what is refused, what is void and charged."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import fedloom.privacy.mechanisms.noisy_gradient as gradient_module
import fedloom.privacy.secure_sum.masks as masks_module
from fedloom.common.errors import StudyError
from fedloom.privacy.keys import generate_exchange_key
from fedloom.privacy.ledger import Ledger, read_ledger
from fedloom.privacy.noise import NoiseSource
from fedloom.privacy.secure_sum import RequestMask
from tests.federation import approve_at, make_home
from tests.secure_sum.consortium import (
    LOOK,
    SITES,
    STEP,
    THREE,
    exact_look,
    frame,
    near,
    opened,
    resolve,
    uniform,
)


def total_of(shares) -> np.ndarray:
    return sum(shares.values())


@pytest.mark.parametrize("roster", [SITES, THREE])
def test_the_sum_of_a_roster_is_exact_but_for_its_noise(consortium, roster):
    asked = consortium.request(LOOK, roster=roster)
    shares = consortium.answers(asked)
    assert near(asked, opened(shares, asked), exact_look(consortium.plan, roster))
    assert consortium.charged() == [int(site in roster) for site in SITES]
    # A site's own part is nowhere near anything, nor is the sum of all but one.
    unit = asked.params["grid_step"]
    for site in roster:
        rest = total_of({other: shares[other] for other in roster if other != site})
        for masked in (shares[site], rest):
            assert np.median(np.abs(masked * unit)) > 2.0**40


def test_a_replayed_round_gets_the_same_bytes_for_free(consortium):
    asked = consortium.request(STEP)
    first = consortium.answers(asked)
    consortium.restart("east")
    again = consortium.answers(replace(asked, nonce="another"))
    assert all((first[site] == again[site]).all() for site in SITES)
    assert consortium.charged() == [1, 1, 1, 1]


def test_another_roster_or_other_arrays_under_one_attempt_are_refused(consortium):
    consortium.answers(consortium.request(STEP))
    for changes in ({"roster": THREE}, {"arrays": consortium.weights(0.02)}):
        assert consortium.status("east", consortium.request(STEP, **changes)) == "conflict"
    assert consortium.charged() == [1, 1, 1, 1]


@pytest.mark.parametrize(
    "roster",
    [
        ("east", "north"),  # fewer than the plan's least number
        ("north", "south", "west"),  # without the site itself
        ("east", "north", "nowhere"),
        ("north", "east", "south"),
        ("east", "east", "north"),
        (),
    ],
)
def test_a_roster_that_is_not_the_plans_is_refused(consortium, roster):
    assert consortium.status("east", consortium.request(LOOK, roster=roster)) == "outside-plan"
    assert "open" not in consortium.kinds("east")


def test_a_plan_with_swapped_exchange_keys_is_not_approved(tmp_path):
    homes = {name: make_home(tmp_path / name, name) for name in SITES}
    plan = resolve(tmp_path / "study", homes, swapped=("east", "north"))
    for site in ("east", "north"):
        with pytest.raises(StudyError, match="exchange-key"):
            approve_at(homes[site], plan, frame(site))
    approve_at(homes["south"], plan, frame("south"))


def test_a_home_with_another_exchange_key_than_the_plans_answers_nothing(consortium):
    path = consortium.homes["east"].exchange_key_path
    path.unlink()
    generate_exchange_key(path)
    assert consortium.status("east", consortium.request(LOOK)) in ("malformed", "unavailable")
    assert "open" not in consortium.kinds("east")


def test_sites_that_were_asked_different_things_have_no_sum(consortium):
    """The same round and attempt with other weights at one site: another digest, other masks."""
    asked = consortium.request(STEP)
    shares = consortium.answers(asked, THREE)
    shares["west"] = consortium.answer(
        "west", consortium.request(STEP, arrays=consortium.weights(0.02))
    )
    assert uniform(total_of(shares))


def test_a_look_with_a_silent_site_waits_for_it(consortium):
    """A look has no spare: nobody answers it twice, and the late site opens the first sum."""
    asked = consortium.request(LOOK)
    shares = consortium.answers(asked, THREE)
    for site in THREE:
        again = consortium.request(LOOK, attempt=2, roster=THREE)
        assert consortium.status(site, again) == "outside-plan"
    assert consortium.charged() == [1, 1, 1, 0]
    shares = {site: consortium.answer(site, replace(asked, nonce="2")) for site in SITES}
    assert near(asked, opened(shares, asked), exact_look(consortium.plan))
    assert consortium.charged() == [1, 1, 1, 1]


def small(consortium, values: np.ndarray) -> bool:
    """Whether a sum of gradients is one: at most the clip a record, and its noise."""
    training = consortium.plan.training
    clip = training.settings.max_grad_norm
    return bool(np.abs(values).max() < clip * (400 + 10 * training.noise_multiplier))


def test_a_void_attempt_is_asked_again_and_charged_from_the_spare(consortium):
    first = consortium.request(STEP)
    void = consortium.answers(first, THREE)
    second = consortium.request(STEP, attempt=2, roster=THREE)
    assert small(consortium, opened(consortium.answers(second), second))
    assert consortium.charged() == [2, 2, 2, 0]
    assert uniform(total_of(void))
    # The void attempt is over where a later one was opened, though its answer stays as it was.
    assert consortium.status("east", replace(first, nonce="2")) == "ok"
    assert consortium.charged() == [2, 2, 2, 0]


def test_no_more_attempts_are_answered_than_the_plan_has_priced(consortium):
    """Three rounds and one spare: the fifth answer is refused, whichever round it is for."""
    for number, attempt in ((2, 1), (2, 2), (3, 1), (3, 2)):
        asked = consortium.request(number, attempt=attempt)
        assert consortium.status("east", asked) == "ok"
    for number, attempt in ((2, 3), (3, 3), (4, 1)):
        asked = consortium.request(number, attempt=attempt)
        refused = "conflict" if attempt == 1 else "outside-plan"
        assert consortium.status("east", asked) == refused
    assert consortium.charged()[0] == 4


def test_a_late_site_may_still_answer_what_it_was_not_overtaken_in(consortium):
    first = consortium.request(STEP)
    shares = consortium.answers(first, THREE)
    consortium.answers(consortium.request(STEP, attempt=2, roster=THREE))
    shares["west"] = consortium.answer("west", first)
    assert small(consortium, opened(shares, first))
    assert consortium.charged() == [2, 2, 2, 1]


def test_a_late_site_does_not_go_back_behind_a_later_attempt(consortium):
    first = consortium.request(STEP)
    consortium.answers(first, THREE)
    consortium.answers(consortium.request(STEP, attempt=2))
    assert consortium.status("west", first) == "stale"
    assert consortium.charged() == [2, 2, 2, 1]


def test_a_site_that_was_not_asked_before_misses_no_attempt(consortium):
    """The request tells of the first attempt, and every ledger holds its roster."""
    first = consortium.request(STEP, roster=THREE)
    consortium.answers(first)
    second = consortium.request(STEP, void=(THREE,))
    assert small(consortium, opened(consortium.answers(second), second))
    for site in SITES:
        entries = read_ledger(consortium.homes[site].path).entries
        opens = [entry.read().data for entry in entries if entry.read().kind == "open"]
        assert opens[-1]["attempt"] == 2 and opens[-1]["void"] == [list(THREE)]


@pytest.mark.parametrize(
    ("void", "expected"),
    [
        ((SITES,), "conflict"),  # this site was asked with three
        ((), "conflict"),  # a second first attempt
        ((THREE, THREE), "outside-plan"),  # the plan has one spare
        ((THREE,) * 2000, "outside-plan"),
        ((("east", "north"),), "outside-plan"),  # fewer than the plan's least number
        ((("east", "nobody", "north"),), "outside-plan"),
        ((("north", "east", "south"),), "outside-plan"),
    ],
)
def test_earlier_attempts_that_cannot_have_been_are_refused(consortium, void, expected):
    consortium.answers(consortium.request(STEP, roster=THREE))
    before = consortium.kinds("east")
    asked = consortium.request(STEP, void=void, arrays=consortium.weights(0.02))
    assert consortium.status("east", asked) == expected
    assert consortium.kinds("east") == before


class Drawn:
    """Coins of samples, noise shares and masks that were drawn, in order.

    All records are in every batch of this cheap study, but each still tosses its coin.
    """

    def __init__(self, monkeypatch) -> None:
        self.coins: list[np.ndarray] = []
        self.noises: list[np.ndarray] = []
        self.masks: list[np.ndarray] = []
        self._watch(monkeypatch, NoiseSource, "uniform", self.coins)
        self._watch(monkeypatch, gradient_module, "noise_share", self.noises)
        self._watch(monkeypatch, RequestMask, "words", self.masks)

    def repeat_coins(self) -> bool:
        return len({coins.tobytes() for coins in self.coins}) < len(self.coins)

    @staticmethod
    def _watch(monkeypatch, owner, name, into) -> None:
        inner = getattr(owner, name)

        def watched(*args, **kwargs):
            drawn = inner(*args, **kwargs)
            if drawn.size > 1:  # the rest are trials before anything is opened
                into.append(drawn.copy())
            return drawn

        monkeypatch.setattr(owner, name, watched)


def test_every_attempt_has_a_fresh_sample_noise_and_mask(consortium, monkeypatch):
    drawn = Drawn(monkeypatch)
    for attempt in (1, 2):
        asked = consortium.request(STEP, attempt=attempt)
        assert consortium.status("east", asked) == "ok"
    tossed = len(drawn.coins)
    assert consortium.status("east", replace(asked, nonce="2")) == "ok"
    assert [len(drawn.coins), len(drawn.noises), len(drawn.masks)] == [tossed, 2, 2]
    assert tossed >= 2 and not drawn.repeat_coins()
    assert (drawn.noises[0] == drawn.noises[1]).mean() < 0.01
    assert not (drawn.masks[0] == drawn.masks[1]).any()


def test_after_a_crash_the_attempt_is_computed_anew_and_nothing_had_left(consortium, monkeypatch):
    """The mask is that of the request, so no second share may follow one that has left."""
    drawn = Drawn(monkeypatch)

    def crash(*_, **__):
        raise OSError("the disk is gone")

    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "commit", crash)
        assert consortium.status("east", consortium.request(STEP)) == "silence"
    assert consortium.charged() == [0, 0, 0, 0]
    consortium.restart("east")
    shares = consortium.answers(consortium.request(STEP))
    assert not drawn.repeat_coins()
    assert (drawn.noises[0] == drawn.noises[1]).mean() < 0.01
    assert np.array_equal(*drawn.masks[:2])
    assert small(consortium, opened(shares, consortium.request(STEP)))


def test_a_vault_derives_the_keys_of_its_pairs_once_a_request(consortium, monkeypatch):
    """And none for an answer that it gives again from what was stored."""
    derived, real = [], masks_module.shared_secret

    def counted(key, public_hex):
        derived.append(public_hex)
        return real(key, public_hex)

    monkeypatch.setattr(masks_module, "shared_secret", counted)
    asked = consortium.request(LOOK)
    for _ in range(2):
        assert consortium.status("east", asked) == "ok"
        assert len(derived) == len(set(derived)) == 3
