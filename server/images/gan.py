"""The coordinator's side of the GAN of images: a noised critic, and a generator that follows it.

Every round is one step of the critic: the noised sum of clipped gradients on records comes from
the sites, that on fakes, clipped alike, is made here. Layers are then scaled down to their greatest
singular value, which is post-processing and keeps the critic's slope bounded. After every
`critic_steps` rounds the generator takes its steps, on fakes alone. With `loss = "moments"` rounds
are averaged instead, and the generator follows the critic that is best for what they have told
(`fedloom.server.images.matching`).

The generator begins as the mixture that the sums give, exactly, and learns what to add to it; and
the critic's reader begins by telling the classes of images of that mixture apart. After a look
alone it begins as the coarse mean of each class and random detail, and the critic at random.
Published is the generator's moving average.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fedloom.common.artifact import Artifact
from fedloom.common.images.coder import ImageCoder
from fedloom.common.images.corrected import BASE, CorrectedImages
from fedloom.common.models.image_gan import SHOWN, ImageCritic, ImageGan
from fedloom.common.models.image_model import CENTRE
from fedloom.common.models.image_settings import ImageGanGradients, ImageGanSettings
from fedloom.common.models.moments import MomentReader
from fedloom.common.models.private_model import load_weights, read_weights
from fedloom.common.models.rivalry import critic_losses
from fedloom.common.vocabulary import Rivalry
from fedloom.privacy.answers.opened_images import NoisyImages
from fedloom.privacy.clipping import clipped_gradient_sum
from fedloom.privacy.phases import TrainingPhase
from fedloom.server.images.fakes import Base, Drawn, FakeSource
from fedloom.server.images.growth import shown_frequencies
from fedloom.server.images.heads import FakeHeads
from fedloom.server.images.learner import mixture_arrays
from fedloom.server.images.matching import frame_of, noisy_moments
from fedloom.server.images.rivals import LearnedRival, MatchedRival, Rival
from fedloom.server.images.start import coarse_arrays, has_sums
from fedloom.server.images.teaching import teach_classes
from fedloom.server.images.trained import WEIGHTS, ImageNetLearner
from fedloom.server.images.trainee import Trainee
from fedloom.server.learners.learner import State, section, with_prefix
from fedloom.server.learners.optimisers import falling_rate, moving_average

__all__ = ["ImageGanLearner"]

_NET, _HEADS, _AVERAGE, _START = "net", "heads", "average/", "start/"
_TOLD, _SCORE = "told", "score.weight"
_READ = "reader.inner.weight"
_LAST = ("outer.weight", "outer.bias")
_FAKES = 2048
_RATE_FROM_LOOK, _RATE_FROM_SUMS = 0.001, 0.00005
# What the network adds at first where all images of a class are alike without it.
_FIRST_DETAIL = 0.3
# With momentum both sides run after where the other was (measured: accuracy .39 instead of .83).
_MOMENTUM = 0.0
# The best critic of the moment has no past to run after.
_MOMENTUM_OF_MOMENTS = 0.5
# Steps of a turn against a critic that learns and would be outrun. Steps of all turns against the
# best one, and fewer where the generator begins as the mixture, whose images take longer to draw.
_STEPS, _STEPS_FROM_LOOK, _STEPS_FROM_SUMS = 1, 2500, 500
# The radius about which edges are read, in units of the spread of the first fakes: those from a
# look alone have fewer edges than records (median of MNIST's: twice as long).
_ROOM_FROM_SUMS, _ROOM_FROM_LOOK = 1.0, 2.5
# A generator whose critic is never certain takes its turn after so many times `critic_steps`.
_LONGEST_WAIT = 20
# Heads learn faster than what they judge.
_RATE_OF_HEADS = 0.002

Arrays = dict[str, NDArray[Any]]


class ImageGanLearner(ImageNetLearner):
    """Learns an `image-gan`; see `fedloom.server.learners.learner.Learner`."""

    def __init__(
        self,
        model: ImageGanSettings,
        training: TrainingPhase,
        coder: ImageCoder,
        *,
        num_sites: int = 1,
    ) -> None:
        """Takes model and training of the plan, and how many sites' noises add up."""
        assert isinstance(training.settings, ImageGanGradients)
        self._model, self._settings, self._coder = ImageGan(model, coder), model, coder
        self._rounds = training.settings
        super().__init__(self._model, training, self._rounds, num_sites)
        self._fakes = FakeSource(model, coder)
        self._matching = model.loss is Rivalry.MOMENTS

    def request_arrays(self, state: State) -> dict[str, NDArray[np.float32]]:
        """Returns the critic, what images are read about, and what the round sees of them."""
        arrays = super().request_arrays(state)
        if self._matching:
            arrays |= {name: state.arrays[name] for name in self._model.public_shapes}
        shown = self._shown(state.meta)
        return arrays if shown is None else arrays | {SHOWN: shown.numpy()}

    def initialise(self, statistics: NoisyImages, seed: int) -> State:
        """Returns a generator that shows what the sums tell, and an undecided critic."""
        arrays, meta = self._look(statistics)
        critic, heads = self._model.private_module(seed % 2**31), self._heads(seed % 2**31)
        sums = has_sums(statistics)
        if sums:
            mixture = mixture_arrays(statistics, seed)
            del mixture["probabilities"]
            arrays |= with_prefix(mixture, BASE)
            self._teach(statistics, critic, heads, arrays[CENTRE], seed)
        else:
            arrays |= with_prefix(coarse_arrays(statistics), BASE)
        net = read_weights(
            self._fakes.network(seed % 2**31, last_std=0.0 if sums else _FIRST_DETAIL)
        )
        arrays |= with_prefix(self._bounded(read_weights(critic)), WEIGHTS)
        if self._matching:
            arrays[_TOLD] = np.zeros(arrays[WEIGHTS + _SCORE].shape)
        arrays |= {**with_prefix(net, f"{_NET}/"), **with_prefix(net, _AVERAGE)}
        if sums:
            arrays |= with_prefix({name: net[name] for name in _LAST}, _START)
        if heads is not None:
            arrays |= with_prefix(read_weights(heads), f"{_HEADS}/")
        if self._matching:
            arrays |= self._frame(critic, arrays, seed)
        return State(arrays=arrays, meta={**meta, "turns": 0, "waited": 0, "told": 0.0})

    def update(
        self, state: State, aggregate: dict[str, NDArray[Any]], normaliser: float, seed: int
    ) -> State:
        """Moves the critic, and the generator when it is its turn."""
        arrays, meta, shown = dict(state.arrays), dict(state.meta), self._shown(state.meta)
        if self._matching:
            # A score's gradient is what the critic reads; a loss falls where scores rise.
            arrays[_TOLD] = arrays[_TOLD] - aggregate[_SCORE]
            meta |= {"told": float(meta["told"]) + normaliser, "step": int(meta["step"]) + 1}
        else:
            fakes = self._gradient_on_fakes(arrays, shown, seed)
            gradient = {name: aggregate[name] / normaliser + fakes[name] for name in aggregate}
            weights, kept, meta["step"] = self._step(state, gradient, momentum=_MOMENTUM)
            if shown is not None and _READ in weights:
                # What no round has seen yet was moved by noise alone.
                before, unseen = arrays[WEIGHTS + _READ], shown.numpy() == 0.0
                weights[_READ][:, unseen] = before[:, unseen]
            arrays |= {**kept, **with_prefix(self._bounded(weights), WEIGHTS)}
        meta["waited"] = int(meta["waited"]) + 1
        if self._is_turn(arrays, meta, shown, seed):
            meta |= {"turns": int(meta["turns"]) + 1, "waited": 0}
            self._turn(arrays, meta, shown, seed)
        return State(arrays=arrays, meta=meta)

    def export(self, state: State) -> Artifact:
        """Returns the averaged generator, its tones matched to the noisy histograms.

        What it adds to the mixture of the sums is shrunk by the trust that the training's noise
        allows; from a look alone there is nothing to fall back on.
        """
        arrays = with_prefix(section(state.arrays, BASE), BASE)
        net, trust = section(state.arrays, _AVERAGE), np.float32(state.meta["trust"])
        for name, first in section(state.arrays, _START).items():
            net[name] = first + trust * (net[name] - first)
        return self._published(state, {**arrays, **with_prefix(net, "net.")})

    def _artifact(self, arrays: Arrays) -> Artifact:
        _, groups, directions = arrays[BASE + "centres"].shape
        config = {
            "detail": self._settings.detail,
            "directions": int(directions),
            "generator": str(self._settings.generator),
            "groups": int(groups),
            "hidden": self._settings.hidden,
            "latent": self._settings.latent,
        }
        return Artifact(kind="image-gan", config=config, arrays=arrays)

    def _source(self, artifact: Artifact) -> CorrectedImages:
        return CorrectedImages(artifact, self._coder.shape)

    def _critic(self, arrays: Arrays) -> ImageCritic:
        critic = self._model.private_module()
        load_weights(critic, section(arrays, WEIGHTS))
        if isinstance(critic.reader, MomentReader):
            critic.reader.frame(arrays)
        return critic

    def _frame(self, critic: ImageCritic, arrays: Arrays, seed: int) -> Arrays:
        """Returns what a critic of moments reads edges about, as the first fakes show them."""
        assert isinstance(critic.reader, MomentReader)
        critic.reader.see_about(arrays[CENTRE])
        room = _ROOM_FROM_SUMS if section(arrays, _START) else _ROOM_FROM_LOOK
        return frame_of(critic.reader, self._many(arrays, None, seed).images, room)

    def _base(self, arrays: Arrays) -> Base:
        return self._fakes.base(section(arrays, BASE), arrays[CENTRE])

    def _network(self, arrays: Arrays) -> nn.Module:
        net = self._fakes.network()
        load_weights(net, section(arrays, f"{_NET}/"))
        return net

    def _heads(self, seed: int = 0) -> FakeHeads | None:
        if not self._settings.class_weight + self._settings.code_weight:
            return None
        rng = torch.Generator().manual_seed(seed)
        return FakeHeads(self._settings, self._coder.shape, self._model.num_classes, rng)

    def _shown(self, meta: Mapping[str, Any]) -> Tensor | None:
        """Returns what the coming round sees of each frequency; None: all there is."""
        rounds = self._settings.growth * self._rounds.num_rounds
        if not rounds:
            return None
        share = int(meta["step"]) / rounds
        return torch.from_numpy(shown_frequencies(self._coder.shape, self._settings.detail, share))

    def _is_turn(
        self, arrays: Arrays, meta: Mapping[str, Any], shown: Tensor | None, seed: int
    ) -> bool:
        """Returns whether the generator's turn has come, by rounds and by scores of fakes."""
        rounds, wanted = self._rounds.critic_steps, self._settings.certainty
        if meta["waited"] < rounds or not wanted:
            return bool(meta["waited"] >= rounds)
        drawn = self._many(arrays, shown, seed)
        with torch.no_grad():
            scores = self._critic(arrays)(drawn.images, drawn.classes, shown)
        told = float((scores < 0.0).float().mean())
        return told >= wanted or bool(meta["waited"] >= _LONGEST_WAIT * rounds)

    def _many(self, arrays: Arrays, shown: Tensor | None, seed: int) -> Drawn:
        """Returns the fakes that a critic is shown in a round."""
        rng, shares = np.random.default_rng(seed), _shares(arrays)
        classes = rng.choice(len(shares), size=_FAKES, p=shares)
        net, base = self._network(arrays), self._base(arrays)
        with torch.no_grad():
            return self._fakes.drawn(net, base, classes, rng, shown)

    def _gradient_on_fakes(self, arrays: Arrays, shown: Tensor | None, seed: int) -> Arrays:
        """Returns the mean of the critic's gradients on fakes, each clipped as on records."""
        drawn, rivalry = self._many(arrays, shown, seed), self._settings.loss

        def loss(module: nn.Module, batch: Any) -> Tensor:
            return critic_losses(rivalry, -module(batch["images"], batch["classes"], shown))

        sums = clipped_gradient_sum(
            self._critic(arrays),
            loss,
            {"images": drawn.images, "classes": drawn.classes},
            max_grad_norm=self._rounds.max_grad_norm,
        )
        return {name: value.double().numpy() / _FAKES for name, value in sums.items()}

    def _matched(self, arrays: Arrays, meta: dict[str, Any]) -> MatchedRival:
        """Returns the best critic for what rounds have told."""
        reader = self._critic(arrays).reader
        assert isinstance(reader, MomentReader)
        prior = arrays["class_prior"].astype(np.float64)
        seen = np.flatnonzero(prior > 0.0)
        moments = noisy_moments(
            reader,
            torch.from_numpy(arrays[_TOLD][seen] / float(meta["told"])).float(),
            torch.from_numpy(prior[seen] / prior.sum()).float(),
            self._noise_variance(int(meta["step"])) / float(meta["told"]) ** 2,
        )
        return MatchedRival(reader, moments, seen)

    def _rival(self, arrays: Arrays, meta: dict[str, Any], shown: Tensor | None) -> Rival:
        if self._matching:
            return self._matched(arrays, meta)
        return LearnedRival(self._critic(arrays), self._settings.loss, _shares(arrays), shown)

    def _turn(self, arrays: Arrays, meta: dict[str, Any], shown: Tensor | None, seed: int) -> None:
        """Lets the generator take its steps, and heads with it; writes into `arrays`."""
        base, rival, heads = self._base(arrays), self._rival(arrays, meta, shown), self._heads()
        generator = Trainee(self._fakes.network(), arrays, _NET)
        readers = [] if heads is None else [Trainee(heads, arrays, _HEADS)]
        turn, (of_turn, rate) = int(meta["turns"]), self._pace(bool(section(arrays, _START)))
        average = section(arrays, _AVERAGE)
        before, steps = (int(meta["step"]) - 1) * of_turn, self._rounds.num_rounds * of_turn
        momentum = _MOMENTUM_OF_MOMENTS if self._matching else _MOMENTUM
        for number in range(of_turn):
            weights = [generator.loaded(), *(reader.loaded() for reader in readers)]
            rng = np.random.default_rng(seed + 1 + number)
            drawn = self._fakes.drawn(generator.module, base, rival.classes(rng), rng, shown)
            lost = rival.loss(drawn) + sum(reader.module.loss(drawn) for reader in readers)
            gradients = iter(torch.autograd.grad(lost, [one for own in weights for one in own]))
            step = (turn - 1) * of_turn + number + 1
            fall = falling_rate(1.0, before + number + 1, steps)
            rates = [rate, *(_RATE_OF_HEADS for _ in readers)]
            for trainee, own, pace in zip([generator, *readers], weights, rates, strict=True):
                trainee.step(
                    tuple(next(gradients) for _ in own),
                    learning_rate=fall * pace,
                    step=step,
                    momentum=momentum,
                )
            decay = self._rounds.generator_decay
            average = moving_average(average, generator.weights, decay=decay, step=step)
        arrays |= with_prefix(average, _AVERAGE)
        for trainee in (generator, *readers):
            arrays |= trainee.kept()

    def _pace(self, from_sums: bool) -> tuple[int, float]:
        """Returns steps of a turn, and the generator's learning rate."""
        steps, rate = self._rounds.generator_steps, self._rounds.generator_learning_rate
        if steps is None:
            many = _STEPS_FROM_SUMS if from_sums else _STEPS_FROM_LOOK
            turns = max(1, self._rounds.num_rounds // self._rounds.critic_steps)
            steps = -(-many // turns) if self._matching else _STEPS
        if rate is None:
            rate = _RATE_FROM_SUMS if from_sums else _RATE_FROM_LOOK
        return steps, rate

    def _bounded(self, weights: Arrays) -> Arrays:
        """Scales layers down to the greatest singular value that they may have."""
        bounded = {}
        for name, value in weights.items():
            if value.ndim > 1:
                norm = float(np.linalg.norm(value.reshape(len(value), -1), ord=2))
                value = value * np.float32(min(1.0, self._settings.lipschitz / max(norm, 1e-12)))
            bounded[name] = value
        return bounded

    def _teach(
        self,
        statistics: NoisyImages,
        critic: ImageCritic,
        heads: FakeHeads | None,
        centre: Any,
        seed: int,
    ) -> None:
        """Lets what reads images learn from those of the mixture; a critic's scores stay 0."""
        classes, steps = self._model.num_classes, self._settings.start_steps
        if not self._matching:
            head = nn.Linear(critic.score.in_features, classes)
            nn.init.zeros_(head.weight)
            nn.init.zeros_(head.bias)
            teach_classes(critic.reader, head, statistics, centre, steps=steps, seed=seed)
        if heads is not None:
            teach_classes(heads.reader, heads.classes, statistics, centre, steps=steps, seed=seed)


def _shares(arrays: Arrays) -> NDArray[Any]:
    """Returns (C,) the noisy shares of the classes."""
    prior = arrays["class_prior"].astype(np.float64)
    shares: NDArray[Any] = prior / prior.sum()
    return shares
