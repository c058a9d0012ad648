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

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fedloom.common.artifact import Artifact
from fedloom.common.images.coder import ImageCoder
from fedloom.common.images.coordinates import Coordinates
from fedloom.common.images.corrected import BASE, CorrectedImages, network_inputs
from fedloom.common.images.generator import ImageGenerator
from fedloom.common.images.net_sizes import corrector_inputs
from fedloom.common.models.decoder import class_rows, joined
from fedloom.common.models.image_gan import ImageCritic, ImageGan
from fedloom.common.models.image_model import CENTRE, pictures
from fedloom.common.models.image_networks import DenseNet, Frequencies
from fedloom.common.models.image_settings import ImageGanGradients, ImageGanSettings
from fedloom.common.models.moments import MomentReader
from fedloom.common.models.private_model import load_weights, read_weights
from fedloom.common.models.rivalry import critic_losses, generator_losses
from fedloom.common.vocabulary import Rivalry
from fedloom.privacy.answers.opened_images import NoisyImages
from fedloom.privacy.clipping import clipped_gradient_sum
from fedloom.privacy.phases import TrainingPhase
from fedloom.server.images.learner import mixture_arrays
from fedloom.server.images.matching import matching_loss, noisy_moments
from fedloom.server.images.start import coarse_arrays, drawn_images, fitted, has_sums
from fedloom.server.images.trained import WEIGHTS, ImageNetLearner
from fedloom.server.learners.learner import State, section, with_prefix
from fedloom.server.learners.optimisers import adam, falling_rate, moving_average

__all__ = ["ImageGanLearner"]

_NET, _NET_MOMENTS, _AVERAGE, _START = "net/", "net moments/", "average/", "start/"
_TOLD, _SCORE = "told", "score.weight"
_LAST = ("outer.weight", "outer.bias")
_FAKES, _BATCH = 2048, 256
# Images that the critic's reader learns from before the first round.
_IMAGES, _OF_STEP, _RATE = 10_000, 128, 0.003
_RATE_FROM_LOOK, _RATE_FROM_SUMS = 0.001, 0.00005
# What the network adds at first where all images of a class are alike without it.
_FIRST_DETAIL = 0.3
# With momentum both sides run after where the other was (measured: accuracy .39 instead of .83).
_MOMENTUM = 0.0
# The best critic of the moment has no past to run after.
_MOMENTUM_OF_MOMENTS = 0.5
# Steps of a turn: one against a critic that learns and would be outrun. Against the best one 25,
# and fewer where the generator begins as the mixture, whose images take longer to draw.
_STEPS, _STEPS_FROM_LOOK, _STEPS_FROM_SUMS = 1, 25, 5
_FAKES_OF_MOMENTS = 500
# Beyond black and white a value still has this part of its slope, or it could not come back.
_LEAK = 0.1

Arrays = dict[str, NDArray[Any]]
# Network, base, shares of classes, centre.
_Parts = tuple[DenseNet, ImageGenerator, NDArray[Any], Tensor]
# What a generator loses by the fakes of a seed.
_Judge = Callable[[_Parts, int], Tensor]


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
        self._detail = min(model.detail, coder.shape.num_values)
        self._coordinates = Coordinates(coder.shape, self._detail)
        self._frequencies = Frequencies(coder.shape, self._detail)
        self._classes = coder.encoding.num_classes
        self._matching = model.loss is Rivalry.MOMENTS

    def initialise(self, statistics: NoisyImages, seed: int) -> State:
        """Returns a generator that shows what the sums tell, and an undecided critic."""
        arrays, meta = self._look(statistics)
        critic, sums = self._model.private_module(seed % 2**31), has_sums(statistics)
        if sums:
            mixture = mixture_arrays(statistics, seed)
            del mixture["probabilities"]
            arrays |= with_prefix(mixture, BASE)
            if not self._matching:
                self._teach_classes(critic, statistics, arrays[CENTRE], seed)
        else:
            arrays |= with_prefix(coarse_arrays(statistics), BASE)
        net = read_weights(self._network(seed % 2**31, last_std=0.0 if sums else _FIRST_DETAIL))
        arrays |= with_prefix(self._bounded(read_weights(critic)), WEIGHTS)
        if self._matching:
            arrays[_TOLD] = np.zeros(arrays[WEIGHTS + _SCORE].shape)
        arrays |= {**with_prefix(net, _NET), **with_prefix(net, _AVERAGE)}
        if sums:
            arrays |= with_prefix({name: net[name] for name in _LAST}, _START)
        return State(arrays=arrays, meta={**meta, "turns": 0, "told": 0.0})

    def update(
        self, state: State, aggregate: dict[str, NDArray[Any]], normaliser: float, seed: int
    ) -> State:
        """Moves the critic, and the generator when it is its turn."""
        arrays, meta = dict(state.arrays), dict(state.meta)
        if self._matching:
            # A score's gradient is what the critic reads; a loss falls where scores rise.
            arrays[_TOLD] = arrays[_TOLD] - aggregate[_SCORE]
            meta |= {"told": float(meta["told"]) + normaliser, "step": int(meta["step"]) + 1}
        else:
            fakes = self._gradient_on_fakes(self._critic(arrays), arrays, seed)
            gradient = {name: aggregate[name] / normaliser + fakes[name] for name in aggregate}
            weights, kept, meta["step"] = self._step(state, gradient, momentum=_MOMENTUM)
            arrays |= {**kept, **with_prefix(self._bounded(weights), WEIGHTS)}
        if meta["step"] % self._rounds.critic_steps == 0:
            meta["turns"] = int(meta["turns"]) + 1
            judged = self._matched(arrays, meta) if self._matching else self._judged(arrays)
            self._turn(arrays, meta["turns"], judged, seed)
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
            "groups": int(groups),
            "hidden": self._settings.hidden,
            "latent": self._settings.latent,
        }
        return Artifact(kind="image-gan", config=config, arrays=arrays)

    def _source(self, artifact: Artifact) -> CorrectedImages:
        return CorrectedImages(artifact, self._coder.shape)

    def _network(self, seed: int = 0, *, last_std: float = 0.0) -> DenseNet:
        inputs = corrector_inputs(self._detail, self._settings.latent, self._classes)
        return DenseNet(
            inputs,
            self._settings.hidden,
            self._detail,
            torch.Generator().manual_seed(seed),
            last_std=last_std,
            latent=self._settings.latent,
            classes=self._classes,
        )

    def _critic(self, arrays: Arrays) -> ImageCritic:
        critic = self._model.private_module()
        load_weights(critic, section(arrays, WEIGHTS))
        return critic

    def _fakes(self, parts: _Parts, classes: NDArray[np.int64], rng: np.random.Generator) -> Tensor:
        """Returns fakes of classes less the centre, (count, channels, height, width)."""
        net, base, _, centre = parts
        count, shape = len(classes), self._coder.shape
        images = base.shades(classes, rng)
        latents = rng.standard_normal((count, self._settings.latent))
        seen = network_inputs(images, latents, classes, self._classes, self._coordinates)
        added = self._frequencies.images(net(joined(torch.from_numpy(seen).float())))
        values = torch.from_numpy(images).float().flatten(1) + added
        clipped = values.clamp(0.0, 1.0)
        leaking = clipped + _LEAK * (values - values.detach())
        leaking = torch.where((values < 0.0) | (values > 1.0), leaking, clipped)
        shaped = leaking.reshape(count, shape.height, shape.width, shape.channels)
        return shaped.permute(0, 3, 1, 2).contiguous() - centre

    def _drawn(self, parts: _Parts, count: int, seed: int) -> tuple[Tensor, Tensor]:
        """Returns fakes of classes as often as they are, less the centre, and class rows."""
        rng = np.random.default_rng(seed)
        classes = rng.choice(self._classes, size=count, p=parts[2])
        return self._fakes(parts, classes, rng), class_rows(classes, self._classes)

    def _parts(self, arrays: Arrays) -> _Parts:
        net = self._network()
        load_weights(net, section(arrays, _NET))
        prior = arrays["class_prior"].astype(np.float64)
        base = ImageGenerator(self._coder.shape, section(arrays, BASE))
        return net, base, prior / prior.sum(), torch.from_numpy(np.array(arrays[CENTRE]))

    def _gradient_on_fakes(self, critic: ImageCritic, arrays: Arrays, seed: int) -> Arrays:
        """Returns the mean of the critic's gradients on fakes, each clipped as on records."""
        with torch.no_grad():
            images, classes = self._drawn(self._parts(arrays), _FAKES, seed)
        rivalry = self._settings.loss

        def loss(module: nn.Module, batch: Any) -> Tensor:
            return critic_losses(rivalry, -module(batch["images"], batch["classes"]))

        sums = clipped_gradient_sum(
            critic,
            loss,
            {"images": images, "classes": classes},
            max_grad_norm=self._rounds.max_grad_norm,
        )
        return {name: value.double().numpy() / _FAKES for name, value in sums.items()}

    def _judged(self, arrays: Arrays) -> _Judge:
        """Returns what fakes lose to the critic that rounds have taught."""
        critic = self._critic(arrays)
        critic.requires_grad_(False)

        def lost(parts: _Parts, seed: int) -> Tensor:
            images, classes = self._drawn(parts, _BATCH, seed)
            return generator_losses(self._settings.loss, critic(images, classes)).mean()

        return lost

    def _matched(self, arrays: Arrays, meta: dict[str, Any]) -> _Judge:
        """Returns what fakes lose to the best critic for what rounds have told."""
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
        rows = max(2, _FAKES_OF_MOMENTS // len(seen))

        def lost(parts: _Parts, seed: int) -> Tensor:
            classes = np.repeat(seen, rows)
            images = self._fakes(parts, classes, np.random.default_rng(seed))
            return matching_loss(reader, images.unflatten(0, (len(seen), rows)), moments)

        return lost

    def _turn(self, arrays: Arrays, turn: int, lost: _Judge, seed: int) -> None:
        """Lets the generator take its steps; writes into `arrays`."""
        parts = self._parts(arrays)
        net = parts[0]
        weights, moments = section(arrays, _NET), section(arrays, _NET_MOMENTS)
        of_turn, rate = self._rounds.generator_steps, self._rounds.generator_learning_rate
        if of_turn is None:
            many = _STEPS_FROM_SUMS if section(arrays, _START) else _STEPS_FROM_LOOK
            of_turn = many if self._matching else _STEPS
        if rate is None:
            rate = _RATE_FROM_SUMS if section(arrays, _START) else _RATE_FROM_LOOK
        rate = falling_rate(rate, self._rounds.critic_steps * turn, self._rounds.num_rounds)
        for number in range(of_turn):
            load_weights(net, weights)
            named = dict(net.named_parameters())
            gradients = torch.autograd.grad(lost(parts, seed + 1 + number), list(named.values()))
            weights, moments = adam(
                weights,
                {name: value.numpy() for name, value in zip(named, gradients, strict=True)},
                moments,
                learning_rate=rate,
                step=(turn - 1) * of_turn + number + 1,
                momentum=_MOMENTUM_OF_MOMENTS if self._matching else _MOMENTUM,
            )
        average = moving_average(
            section(arrays, _AVERAGE), weights, decay=self._rounds.generator_decay, step=turn
        )
        arrays |= with_prefix(weights, _NET)
        arrays |= with_prefix(moments, _NET_MOMENTS)
        arrays |= with_prefix(average, _AVERAGE)

    def _bounded(self, weights: Arrays) -> Arrays:
        """Scales layers down to the greatest singular value that they may have."""
        bounded = {}
        for name, value in weights.items():
            if value.ndim > 1:
                norm = float(np.linalg.norm(value.reshape(len(value), -1), ord=2))
                value = value * np.float32(min(1.0, self._settings.lipschitz / max(norm, 1e-12)))
            bounded[name] = value
        return bounded

    def _teach_classes(
        self, critic: ImageCritic, statistics: NoisyImages, centre: NDArray[Any], seed: int
    ) -> None:
        """Trains the reader to tell classes of the mixture's images apart; scores stay 0."""
        images, classes = drawn_images(statistics, _IMAGES, seed)
        seen = pictures(images) - torch.from_numpy(np.array(centre))
        labels = torch.from_numpy(classes)
        head = nn.Linear(critic.score.in_features, self._classes)
        nn.init.zeros_(head.weight)
        nn.init.zeros_(head.bias)

        def loss(chosen: NDArray[np.int64], device: torch.device) -> Tensor:
            read = critic.reader(seen[chosen].to(device))
            return nn.functional.cross_entropy(head(read), labels[chosen].to(device))

        fitted(
            nn.ModuleList([critic.reader, head]),
            loss,
            rows=len(images),
            steps=self._settings.start_steps,
            batch=_OF_STEP,
            learning_rate=_RATE,
            seed=seed,
        )
