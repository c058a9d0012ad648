"""A person's rows are clipped as one: against `torch.func`, and under hostile weights."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from fedloom.privacy.clipping import clipped_gradient_sum, layers
from fedloom.privacy.clipping.units import MAX_ROWS, split_batch

SLACK = 1.0 + 1e-3


def owners(sizes):
    return torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes, dtype=torch.int64))


def flat(sums):
    return torch.cat([value.double().reshape(-1) for value in sums.values()])


def person_gradients(case, batch, persons):
    """One `torch.func` gradient of the summed loss of each person's rows: flat, (P, d)."""
    values = {name: p.detach() for name, p in case.module.named_parameters()}
    held = nn.ModuleDict({"inner": case.module})

    def total(values, rows):
        named = {f"inner.{name}": value for name, value in values.items()}

        class Whole(nn.Module):
            def __init__(self):
                super().__init__()
                self.inner = held["inner"]

            def forward(self, rows):
                return case.loss(self.inner, rows).sum()

        return torch.func.functional_call(Whole(), named, (rows,))

    gradients = []
    for person in persons.unique().tolist():
        rows = {name: value[persons == person] for name, value in batch.items()}
        gradients.append(flat(torch.func.grad(total)(values, rows)))
    return torch.stack(gradients) if gradients else flat(values).new_zeros(0, len(flat(values)))


def clipped(gradients, clip):
    return (gradients * (clip / gradients.norm(dim=1)).clamp(max=1.0).unsqueeze(1)).sum(0)


SIZES = st.lists(st.integers(1, 9), max_size=20)


@pytest.mark.parametrize("engine", ["fused", "functional"])
@settings(max_examples=8, deadline=None, derandomize=True)
@given(sizes=SIZES, clip=st.sampled_from([0.3, 3.0, 1e3]), seed=st.integers(0, 99))
def test_the_sum_is_that_of_torch_func(persons_case, engine, sizes, clip, seed):
    persons = owners(sizes)
    batch = persons_case.batch(len(persons), seed)
    got = clipped_gradient_sum(
        persons_case.module,
        persons_case.loss,
        batch,
        max_grad_norm=clip,
        engine=engine,
        persons=persons,
    )
    expected = clipped(person_gradients(persons_case, batch, persons), clip)
    torch.testing.assert_close(flat(got), expected, rtol=1e-8, atol=1e-9)


def test_persons_of_one_row_are_records(persons_case):
    batch = persons_case.batch(40)
    alone, together = (
        clipped_gradient_sum(
            persons_case.module, persons_case.loss, batch, max_grad_norm=0.4, persons=persons
        )
        for persons in (None, torch.arange(40))
    )
    torch.testing.assert_close(flat(together), flat(alone), rtol=1e-9, atol=1e-11)


def copies(case, rows):
    """One record `rows` times, and nothing else."""
    return {name: value.expand(rows, *value.shape[1:]) for name, value in case.batch(1).items()}


def influence(case, batch, persons, clip=1e-3):
    sums = clipped_gradient_sum(
        case.module, case.loss, batch, max_grad_norm=clip, persons=persons, dtype=torch.float64
    )
    return float(flat(sums).norm()) / clip


def test_a_person_counts_one_clip_and_rows_clipped_apart_are_caught(persons_case):
    batch = copies(persons_case, 7)
    assert influence(persons_case, batch, torch.zeros(7, dtype=torch.int64)) <= SLACK
    assert influence(persons_case, batch, torch.arange(7)) > 6.9  # the twin: seven clips


@pytest.mark.parametrize("wrong", ["no cross terms", "half of them"])
def test_norms_that_forget_cross_terms_are_caught(persons_case, monkeypatch, wrong):
    honest = layers._add_cross_terms

    def broken(total, calls, inner, people):
        if wrong == "half of them":
            before = total.clone()
            honest(total, calls, inner, people)
            total.copy_((total + before) / 2)

    monkeypatch.setattr(layers, "_add_cross_terms", broken)
    person = torch.zeros(7, dtype=torch.int64)
    assert influence(persons_case, copies(persons_case, 7), person) > 1.05


def opposed(common, rows=6):
    """A person whose rows share huge inputs with opposite signs of output gradients."""
    x = torch.full((rows, 8), common)
    x[::2, 0], x[1::2, 0] = 1.0, 0.0
    sign = torch.ones(rows)
    sign[1::2] = -1.0
    return {"x": x, "sign": sign}


def signed(module, batch):
    return 1e3 * batch["sign"] * module(batch["x"]).squeeze(1)


def worst_of_opposed():
    torch.manual_seed(4)
    module, worst = nn.Linear(8, 1), 0.0
    person = torch.zeros(6, dtype=torch.int64)
    for common in torch.logspace(0, 15, 61).tolist():
        sums = clipped_gradient_sum(
            module,
            signed,
            opposed(common),
            max_grad_norm=1.0,
            persons=person,
            dtype=torch.float64,
        )
        worst = max(worst, float(flat(sums).norm()))
    return worst


def test_rows_of_a_person_that_nearly_cancel_stay_within_the_clip():
    assert 0.9 < worst_of_opposed() <= SLACK


def test_without_a_margin_they_do_not(monkeypatch):
    monkeypatch.setattr(layers, "MARGIN", 0.0)
    assert worst_of_opposed() > 10.0


@settings(max_examples=5, deadline=None, derandomize=True)
@given(sizes=st.lists(st.integers(1, 30), min_size=1, max_size=5), seed=st.integers(0, 99))
def test_hostile_weights_leave_one_clip_to_each_person(persons_case, sizes, seed):
    """Weights of size 1e4, values of size 1e4: what one person more changes is one clip."""
    module = persons_case.module
    kept = {name: p.detach().clone() for name, p in module.named_parameters()}
    rng = torch.Generator().manual_seed(seed)
    try:
        with torch.no_grad():
            for p in module.parameters():
                p.uniform_(-1e4, 1e4, generator=rng)
        module.float()
        persons = owners(sizes)
        batch = {
            name: value.float() * 1e4 if value.is_floating_point() else value
            for name, value in persons_case.batch(len(persons), seed).items()
        }

        def total(rows):
            return flat(
                clipped_gradient_sum(
                    module,
                    persons_case.loss,
                    {name: value[rows] for name, value in batch.items()},
                    max_grad_norm=1.0,
                    persons=persons[rows],
                    dtype=torch.float64,
                )
            )

        everybody = total(torch.ones(len(persons), dtype=torch.bool))
        for person in range(len(sizes)):
            assert float((everybody - total(persons != person)).norm()) <= SLACK
    finally:
        module.double()
        with torch.no_grad():
            for name, p in module.named_parameters():
                p.copy_(kept[name])


def test_the_place_of_a_person_does_not_matter():
    """Bit for bit, at weights that blow up every rounding."""
    torch.manual_seed(3)
    module = nn.Sequential(nn.Linear(16, 64), nn.Tanh(), nn.Linear(64, 16))
    with torch.no_grad():
        for p in module.parameters():
            p.normal_().mul_(1e3)

    def loss(module, batch):
        return module(batch["x"]).square().sum(1)

    mine = torch.randn(5, 16)
    alone = clipped_gradient_sum(
        module, loss, {"x": mine}, max_grad_norm=1.0, persons=owners([5]), dtype=torch.float64
    )
    for before in (1, 2, 7, 64, 90, 121):
        others = torch.zeros(before, 16)
        without, with_me = (
            clipped_gradient_sum(
                module,
                loss,
                {"x": rows},
                max_grad_norm=1.0,
                persons=persons,
                dtype=torch.float64,
            )
            for rows, persons in (
                (others, owners([1] * before)),
                (torch.cat([others, mine]), owners([1] * before + [5])),
            )
        )
        moved = flat(with_me) - flat(without)
        assert float((moved - flat(alone)).norm()) <= 1e-12 * before


@settings(max_examples=30, deadline=None, derandomize=True)
@given(
    sizes=st.lists(st.integers(1, MAX_ROWS), max_size=30),
    most=st.sampled_from([None, 1, 64, 200, 512]),
)
def test_parts_never_split_a_person_and_have_one_public_shape(sizes, most):
    persons = owners(sizes)
    batch = {"x": torch.arange(len(persons))}
    parts = list(split_batch(batch, most, persons))
    assert len({part.rows for part in parts}) == 1 and parts[0].rows >= 128
    assert torch.equal(torch.cat([part.batch["x"][: part.used] for part in parts]), batch["x"])
    seen = 0
    for part in parts:
        inside = persons[seen : seen + part.used]
        assert part.people.count == len(inside.unique())
        assert torch.equal(
            part.people.owners[: part.used], inside - inside.min() if seen else inside
        )
        assert part.people.longest >= (inside.bincount().max() if part.used else 1)
        seen += part.used
    assert sum(part.people.count for part in parts) == len(sizes)


def test_a_person_without_a_finite_gradient_contributes_zero(persons_case):
    persons = owners([2, 3, 1])
    batch = persons_case.batch(6)
    batch["x"][3] = float("nan")
    got = clipped_gradient_sum(
        persons_case.module, persons_case.loss, batch, max_grad_norm=0.4, persons=persons
    )
    rest = persons != 1
    expected = clipped_gradient_sum(
        persons_case.module,
        persons_case.loss,
        {name: value[rest] for name, value in batch.items()},
        max_grad_norm=0.4,
        persons=persons[rest],
    )
    torch.testing.assert_close(flat(got), flat(expected), rtol=1e-9, atol=1e-12)


def test_opacus_refuses_persons(gan):
    with pytest.raises(ValueError, match="engine='fused'"):
        clipped_gradient_sum(
            gan.module,
            gan.loss,
            gan.batch(3),
            max_grad_norm=1.0,
            engine="opacus",
            persons=torch.zeros(3, dtype=torch.int64),
        )
