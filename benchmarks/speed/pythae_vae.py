"""The VAE of pythae (Chadebec et al. 2022) with our fully connected networks, trained by its own trainer.

It is used where it can be imported, and is no part of this project.
"""

from __future__ import annotations

import importlib
import logging
import math
import tempfile
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.speed.examples import Examples
from semivae.errors import RunError
from semivae.recipe.networks import MlpSpec
from semivae.recipe.schema import ConditionalSpec


class Pythae:
    """Its `VAE` and `BaseTrainer` on a recipe's images, with networks of the recipe's widths.

    Args:
        examples: a recipe of x and normal codes h, both networks fully connected.
    """

    def __init__(self, examples: Examples) -> None:
        try:
            models = importlib.import_module("pythae.models")
            parts = importlib.import_module("pythae.models.nn")
            output = importlib.import_module("pythae.models.base.base_utils").ModelOutput
            trainers = importlib.import_module("pythae.trainers")
            self.data_set: Any = importlib.import_module("pythae.data.datasets").BaseDataset
        except ImportError as error:
            raise RunError(f"pythae cannot be imported ({error}); pip install pythae") from error
        logging.getLogger("pythae").setLevel(logging.WARNING)
        (batch,) = (stream.batch for stream in examples.recipe.streams.values() if stream.observe == ("x",))
        (codes,) = examples.recipe.variables["h"].shape or (0,)
        pixels, hidden = math.prod(examples.data.shape), _hidden(examples)

        class Encoder(parts.BaseEncoder):  # type: ignore[name-defined, misc]
            """Both parameters of the codes by one last layer, as ours."""

            def __init__(self) -> None:
                super().__init__()
                self.body = _mlp(pixels, hidden, 2 * codes)

            def forward(self, x: Tensor) -> Any:
                mean, log_variance = self.body(x.flatten(1)).chunk(2, 1)
                return output(embedding=mean, log_covariance=log_variance)

        class Decoder(parts.BaseDecoder):  # type: ignore[name-defined, misc]
            """Probabilities of the pixels, as its loss takes them."""

            def __init__(self) -> None:
                super().__init__()
                self.body = _mlp(codes, hidden, pixels)

            def forward(self, z: Tensor) -> Any:
                return output(reconstruction=self.body(z).sigmoid())

        config = models.VAEConfig(input_dim=(pixels,), latent_dim=codes, reconstruction_loss="bce")
        self.images = examples.images(examples.parts.labelled).flatten(1).float() / 255
        self.folder = tempfile.TemporaryDirectory()
        settings = trainers.BaseTrainerConfig(
            output_dir=self.folder.name, per_device_train_batch_size=batch, learning_rate=1e-3, no_cuda=True
        )
        self.batch = batch
        model = models.VAE(config, encoder=Encoder(), decoder=Decoder())
        self.trainer: Any = trainers.BaseTrainer(model, self._some(1), training_config=settings)
        self.trainer.prepare_training()

    def _some(self, steps: int) -> Any:
        """So many random images that they make so many steps."""
        rows = torch.randint(len(self.images), (steps * self.batch,))
        return self.data_set(self.images[rows], torch.ones(len(rows)))

    def turn(self, steps: int) -> int:
        """Its own pass over a data set of these steps."""
        self.trainer.train_loader = self.trainer.get_train_dataloader(self._some(steps))
        self.trainer.train_step(epoch=1)
        return steps * self.batch


def _hidden(examples: Examples) -> tuple[int, ...]:
    factors = examples.recipe.encoder["h"], examples.recipe.decoder["x"]
    nets = [factor.net for factor in factors if isinstance(factor, ConditionalSpec)]
    assert isinstance(nets[0], MlpSpec) and nets == [nets[0]] * 2, "both networks are fully connected, of equal widths"
    return tuple(nets[0].hidden)


def _mlp(inputs: int, hidden: tuple[int, ...], outputs: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for size in hidden:
        layers += [nn.Linear(inputs, size), nn.SiLU()]
        inputs = size
    return nn.Sequential(*layers, nn.Linear(inputs, outputs))
