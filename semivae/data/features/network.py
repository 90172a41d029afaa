"""The function from pictures to features: a frozen body, and the standardisation and rotation of what it puts out."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from semivae.devices import choose_precision
from semivae.nets.bodies import Body

AT_A_TIME = 64  # pictures through the network
SMALLEST = 1e-3  # deviation of a feature, relative to the features' mean size: below it lies rounding


class FeatureNetwork(nn.Module):
    """A body, the mean and deviation by which its features are standardised, and the components that are kept of them.

    Args:
        body: the frozen network.
        mirror: whether the features are the mean over a picture and its mirror image.
        components: how many principal components of the standardised features are kept; None keeps the features.

    Attributes:
        fitted: whether mean, deviation and components were taken from data.
    """

    mean: Tensor
    deviation: Tensor
    channels: Tensor
    basis: Tensor | None

    def __init__(self, body: Body, mirror: bool = False, components: int | None = None) -> None:
        super().__init__()
        self.body, self.mirror, self.fitted = body, mirror, False
        self.register_buffer("mean", torch.zeros(body.features))
        self.register_buffer("deviation", torch.ones(body.features))
        self.register_buffer("channels", torch.tensor(3))  # of the pictures that it was fitted to
        self.register_buffer("basis", None if components is None else torch.zeros(body.features, components))
        self.eval().requires_grad_(False)

    @property
    def size(self) -> int:
        """The number of features, or of components of them."""
        return len(self.mean) if self.basis is None else self.basis.shape[1]

    def forward(self, images: Tensor) -> Tensor:
        """Returns standardised features [n, size] of pictures [n, channels, height, width] in [0, 1]."""
        standardised = (self.raw(images) - self.mean) / self.deviation
        if self.basis is None:
            return standardised
        with torch.autocast(standardised.device.type, enabled=False):
            return standardised @ self.basis

    def raw(self, images: Tensor) -> Tensor:
        """Returns the features as the body puts them out, float32 [n, size]."""
        features: Tensor = self.body(images).float()
        if self.mirror:
            features = (features + self.body(images.flip(-1)).float()) / 2
        return features

    def fit(self, raw: Tensor) -> None:
        """Takes mean, deviation and components from raw features [n, features] of at least as many pictures.

        The components are scaled alike, so that their mean square is 1.
        """
        self.mean.copy_(raw.mean(dim=0))
        smallest = SMALLEST * float(raw.abs().mean()) or 1.0
        self.deviation.copy_(raw.std(dim=0, correction=0).clamp_min(smallest))
        if self.basis is not None:
            rows = ((raw - self.mean) / self.deviation).double()
            values, vectors = torch.linalg.eigh(rows.T @ rows / len(rows))  # ascending
            kept = slice(len(values) - self.size, None)
            scale = values[kept].mean().clamp_min(1e-12).rsqrt()
            self.basis.copy_((scale * vectors[:, kept]).flip(1))
        self.fitted = True

    def digest(self) -> str:
        """SHA-256 (hex) of the body's weights and of whether pictures are mirrored, not of the standardisation."""
        total = hashlib.sha256(b"mirror" if self.mirror else b"plain")
        if self.basis is not None:
            total.update(f"{self.size} components".encode())
        for name, tensor in sorted(self.body.state_dict().items()):
            total.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            total.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
        return total.hexdigest()


@contextmanager
def ready(network: FeatureNetwork, device: torch.device) -> Iterator[None]:
    """Puts the network on a device, where it computes as fast as it can, without gradients."""
    network.to(device).to(memory_format=torch.channels_last)
    bfloat16 = choose_precision("auto", device) == "bfloat16"
    with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=bfloat16):
        yield


def in_chunks(network: FeatureNetwork, images: Tensor, device: torch.device) -> Tensor:
    """Returns standardised features, float32 [n, size] on the CPU, of pictures as bytes or as floats in [0, 1]."""
    parts = []
    with ready(network, device):
        for chunk in torch.split(images, AT_A_TIME):
            parts.append(network(as_pictures(chunk, device)).cpu())
    return torch.cat(parts).clone()


def as_pictures(chunk: Tensor, device: torch.device) -> Tensor:
    """Returns pictures, bytes or floats in [0, 1], as floats on a device, channels last in memory."""
    moved = chunk.to(device).to(torch.float32)
    scaled = moved / 255 if chunk.dtype == torch.uint8 else moved
    return scaled.contiguous(memory_format=torch.channels_last)
