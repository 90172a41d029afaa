"""Lower bounds of log p(image), and whether the encoder reads what the decoder wrote."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from semivae.classification.posterior import batches
from semivae.data.inputs.examples import Examples
from semivae.data.inputs.pieces import AnyExamples
from semivae.errors import RunError
from semivae.family_facts import is_discrete
from semivae.game.teaching.vote import draw_and_score
from semivae.generative.chain import refuse_unread
from semivae.generative.features import BATCH
from semivae.generative.prior_samples import prior_samples
from semivae.runs.model import TrainedModel
from semivae.seeds import seeded
from semivae.variables import repeated

ROWS = 2048  # images times draws that are held at a time


@torch.no_grad()
def likelihood(run: TrainedModel, images: Tensor, draws: int, seed: int) -> dict[str, Any]:
    """Bounds of log p(image) on some images, all means over the images, nats per image unless said otherwise.

    "bound": log 1/k sum_k p(x, z_k) / q(z_k | x), k = `draws` (Burda et al. 2016), with its standard error and per
    dimension in bits; "elbo": the same with one draw; "reconstruction": -log p(x | z), z ~ q(z | x); "rate": by latent,
    log q - log p of its draws. Values between 0 and 1 of Bernoulli pixels are scored by the mean over binarisation.

    Raises:
        RunError: a twin, a decoder without images, or a latent without a density or that the encoder does not draw.
        DataError: the images do not fit.
    """
    refuse_without_likelihood(run)
    bounds, elbos, recons, rates = [], [], [], []
    with seeded(seed, run.device):
        for chunk in batches(run, images, max(1, ROWS // draws)):
            log_weight, reconstruction, rate = weights(run, chunk[run.image], draws)
            bounds.append(log_weight.logsumexp(dim=1) - math.log(draws))
            elbos.append(log_weight.mean(dim=1))
            recons.append(reconstruction)
            rates.append(rate)
    bound = torch.cat(bounds)
    dimensions = math.prod(images.shape[1:])
    return {
        "run": str(run.path),
        "checkpoint": run.checkpoint,
        "count": len(bound),
        "draws": draws,
        "bound": bound.mean().item(),
        "standard_error": (bound.std() / len(bound) ** 0.5).item() if len(bound) > 1 else None,
        "bits_per_dimension": -bound.mean().item() / dimensions / math.log(2.0),
        "elbo": torch.cat(elbos).mean().item(),
        "reconstruction": torch.cat(recons).mean().item(),
        "rate": {name: torch.cat([rate[name] for rate in rates]).mean().item() for name in rates[0]},
    }


@torch.no_grad()
def image_bounds(run: TrainedModel, images: AnyExamples, draws: int, seed: int) -> NDArray[np.float64]:
    """Returns the lower bound of log p(image) of each image, nats, [n]. Raises as `likelihood` does."""
    refuse_without_likelihood(run)
    parts = []
    with seeded(seed, run.device):
        for chunk in batches(run, images, max(1, ROWS // draws)):
            log_weight, _, _ = weights(run, chunk[run.image], draws)
            parts.append(log_weight.logsumexp(dim=1) - math.log(draws))
    return np.asarray(torch.cat(parts).cpu(), dtype=np.float64)


@torch.no_grad()
def picture_scores(run: TrainedModel, examples: Examples, draws: int, seed: int) -> NDArray[np.float64]:
    """Returns log 1/k sum_k p(picture | z_k), z_k ~ q(z | features), k = `draws`, of each example, nats, [n].

    Args:
        run: a run that starts from features of pictures, and whose decoder draws pictures.
        examples: features and pictures.
        draws: codes for each example.
        seed: of the draws.

    Raises:
        RunError: as `likelihood`.
        DataError: the examples do not fit.
    """
    run.require_picture_factor()
    refuse_unread(run)
    parts = []
    with seeded(seed, run.device):
        for chunk in batches(run, examples, max(1, ROWS // draws)):
            features, pictures = (chunk[name].repeat_interleave(draws, dim=0) for name in (run.image, run.shown))
            sample = {**run.encoder.complete({run.image: features}, sampled=True), run.shown: pictures}
            score = run.decoder.log_prob(sample, [run.shown])[run.shown].cpu().double().view(-1, draws)
            parts.append(score.logsumexp(dim=1) - math.log(draws))
    return np.asarray(torch.cat(parts), dtype=np.float64)


def refuse_without_likelihood(run: TrainedModel) -> None:
    """Raise `RunError` if log p(image) cannot be bounded."""
    run.require_image_factor()
    refuse_unread(run)
    lacking = [name for name in run.encoder.names if name not in run.decoder]
    if lacking:
        raise RunError(f"{run.path}: the prior of {', '.join(lacking)} is known by samples only: no likelihood")


def weights(run: TrainedModel, images: Tensor, draws: int) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """log p(x, z) - log q(z | x) [n, draws]; -log p(x | z), and log q - log p by latent, [n * draws].

    Nats, float64 on the CPU: not every device has it.
    """
    latents, observed = list(run.encoder.names), {run.image: images}
    rows = {name: repeated(value, len(images) * draws) for name, value in observed.items()}
    sample, scores = draw_and_score(run.encoder, rows, latents, observed)
    log_q = {name: value.cpu().double() for name, value in scores.items()}
    log_p = {name: value.cpu().double() for name, value in run.decoder.log_prob(sample, [run.image, *latents]).items()}
    rate = {name: log_q[name] - log_p[name] for name in latents}
    log_weight = log_p[run.image] - torch.stack(list(rate.values())).sum(dim=0)
    return log_weight.view(-1, draws), -log_p[run.image], rate


@torch.no_grad()
def consistency(run: TrainedModel, count: int, seed: int) -> dict[str, Any]:
    """Measures, by latent, how far the encoder is from the decoder's posterior, on `count` samples of the decoder.

    "read_back": share of bits or classes of z that a draw of the encoder from x repeats; "surprise": how many nats
    -log q(z | ...) of the decoder's own z exceeds that of the encoder's z. 0 if both are one model; where it is not,
    the encoder is surer (positive) or vaguer (negative) than what the decoder does warrants.

    Raises:
        RunError: a twin, a decoder without images, or a prior known by samples only, and no stream that shows any.
    """
    run.require_image_factor()
    refuse_unread(run)
    sums: dict[str, list[float]] = {name: [0.0, 0.0] for name in run.encoder.names}
    given = prior_samples(run, count, {}, seed)
    with seeded(seed, run.device):
        for start in range(0, count, BATCH):
            part = {name: values[start : start + BATCH] for name, values in given.items()}
            written = run.decoder.complete(part, min(BATCH, count - start))
            read = run.encoder.complete({run.image: written[run.image]}, sampled=True)
            names = list(run.encoder.names)
            of_written, of_read = (run.encoder.log_prob(sample, names) for sample in (written, read))
            for name in names:
                same = (written[name] == read[name]).float().flatten(1 if written[name].dim() > 1 else 0)
                sums[name][0] += float(same.mean(dim=1).sum() if same.dim() > 1 else same.sum())
                sums[name][1] += float((of_read[name] - of_written[name]).sum())
    exact = {name for name in sums if is_discrete(run.recipe.variables[name].family)}
    return {
        name: {"surprise": surprise / count} | ({"read_back": same / count} if name in exact else {})
        for name, (same, surprise) in sums.items()
    }
