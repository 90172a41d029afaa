"""Shards: the parts that the batches of a step are cut into, each computed by itself, here or in another process.

What depends on several examples of a batch asks the shard that is computed, so that the whole batch decides and not the
part; what is drawn for examples is drawn for the whole batch, of which a shard takes its rows. So the shards together
learn, to rounding, what one process learns from the whole batch. Dropout alone draws for each shard by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache, partial

import torch
from torch import Tensor
from torch.distributions import Distribution

Exchange = Callable[[Tensor], Tensor]
"""Returns the rows of all shards, [count * n, ...], in their order, given those of one, [n, ...]."""


class Shard:
    """One of the equal parts of every batch: rows `index * n` to `(index + 1) * n` of those of all streams.

    Args:
        index: its number, from 0.
        count: how many there are; 1 is the whole batch.
        updates: whether it is the one of its process that updates what all shards share.
        device: where its random numbers are drawn, besides on the CPU.
        exchange: how its rows meet those of the others.
    """

    def __init__(
        self,
        index: int = 0,
        count: int = 1,
        updates: bool = True,
        device: torch.device | None = None,
        exchange: Exchange | None = None,
    ) -> None:
        self.index, self.count, self.updates, self.device = index, count, updates, device
        self.exchange = exchange or (lambda own: own)
        self._own: tuple[Tensor, ...] = ()  # states of torch's generators
        self._shared: tuple[Tensor, ...] = ()

    def rows(self, whole: Tensor, dim: int = 0) -> Tensor:
        """Returns this shard's part of what belongs to the whole batch, along a dimension."""
        if self.count == 1:
            return whole
        size = whole.shape[dim] // self.count
        return whole.narrow(dim, self.index * size, size)

    def gather(self, own: Tensor) -> Tensor:
        """Returns the whole batch's rows, [count * n, ...], without gradient, given this shard's, [n, ...]."""
        return own if self.count == 1 else self.exchange(own.detach().contiguous())

    def mean(self, own: Tensor) -> Tensor:
        """Returns the mean over the shards of a statistic of each.

        Its gradient is that of this shard's statistic. The gradient of a loss that all shards compute from the mean,
        averaged over the shards, is then that of the whole batch.
        """
        if self.count == 1:
            return own
        mean = self.gather(own[None]).sum(dim=0) / self.count
        return mean + (own - own.detach()) if own.requires_grad else mean

    def following(self, own: Tensor) -> Tensor:
        """Returns for every row the next one of the whole batch, for the last one the first: [n, ...]."""
        if self.count == 1:
            return own.roll(-1, 0)
        first = self.gather(own[:1])[(self.index + 1) % self.count]
        return torch.cat([own[1:], first[None]])

    def draw(self, draw: Callable[[], Tensor]) -> Tensor:
        """Returns what `draw` makes of random numbers that all shards draw alike."""
        if self.count == 1:
            return draw()
        own = random_states(self.device)
        set_random_states(self._shared, self.device)
        value = draw()
        self._shared = random_states(self.device)
        set_random_states(own, self.device)
        return value

    def seed(self, shared: int, own: int) -> None:
        """Seeds what all shards draw alike, and what each draws by itself."""
        _seed(shared)
        if self.count == 1:
            return
        self._shared = random_states(self.device)
        _seed(own)
        self._own = random_states(self.device)

    @contextmanager
    def active(self) -> Iterator[None]:
        """Inside, `current_shard` is this one, and torch draws where it stopped at the end of the last such block."""
        if self._own:
            set_random_states(self._own, self.device)
        token = CURRENT.set(self)
        try:
            yield
        finally:
            CURRENT.reset(token)
            self._own = random_states(self.device)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Inside, other shards may draw."""
        self._own = random_states(self.device)
        yield
        set_random_states(self._own, self.device)


def _seed(seed: int) -> None:
    """Seeds torch's draws. For devices that are not there it would note down where it was asked to, a millisecond."""
    (torch.manual_seed if _has_accelerator() else torch.default_generator.manual_seed)(seed)


@cache
def _has_accelerator() -> bool:
    return torch.accelerator.is_available()


WHOLE = Shard()
CURRENT: ContextVar[Shard] = ContextVar("shard", default=WHOLE)


def current_shard() -> Shard:
    """Returns the shard that is computed; outside a step of training it is the whole batch."""
    return CURRENT.get()


def sample_rows(distribution: Distribution) -> Tensor:
    """Returns a draw of every example, [n, ...], given their distribution, with batch shape [n, ...].

    A distribution that says `draws_rows` draws by `drawn_rows` itself.
    """
    shard = CURRENT.get()
    if shard.count == 1 or getattr(distribution, "draws_rows", False):
        return distribution.sample()
    # every shard draws for all, with its own parameters; the draws of its own places are those of the whole batch
    whole = distribution.expand(torch.Size((shard.count, *distribution.batch_shape)))
    return shard.draw(whole.sample)[shard.index]


def random_rows(draw: Callable[[Sequence[int]], Tensor], shape: Sequence[int], dim: int = 0) -> Tensor:
    """Returns random numbers of every example.

    Args:
        draw: draws an array of a shape, such as `torch.rand`, with a generator that all shards seed alike.
        shape: of this shard's numbers.
        dim: the dimension that counts the examples.
    """
    shard = CURRENT.get()
    if shard.count == 1:
        return draw(shape)
    return shard.rows(draw([size * shard.count if at == dim else size for at, size in enumerate(shape)]), dim)


def drawn_rows(draw: Callable[..., Tensor], shape: Sequence[int], device: torch.device) -> Tensor:
    """Returns random numbers of every example, [n, ...], of torch's own generator; `draw` is such as `torch.randn`."""
    return CURRENT.get().draw(lambda: random_rows(partial(draw, device=device), shape))


def random_states(device: torch.device | None) -> tuple[Tensor, ...]:
    """Returns the states of torch's own generators, of the CPU and of a GPU."""
    if device is None or device.type != "cuda":
        return (torch.get_rng_state(),)
    return torch.get_rng_state(), torch.cuda.get_rng_state(device)


def set_random_states(states: Sequence[Tensor], device: torch.device | None) -> None:
    """Sets what `random_states` returned."""
    torch.set_rng_state(states[0])
    if len(states) > 1 and device is not None:
        torch.cuda.set_rng_state(states[1], device)
