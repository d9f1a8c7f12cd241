"""A worker's random generators: found in the dataset, seeded by epoch and worker, saved and restored."""

from __future__ import annotations

import hashlib
import pickle
import random
from typing import Any

import numpy as np

from accelgrad.utils.data.interop import Generator, default_generator

__all__ = ["Generators", "find_generators", "global_states", "set_global_states"]

MAX_VISITED = 10_000  # objects searched for generators
MAX_ENTRIES = 1_000  # a longer list or dict is data, not structure
ATOMS = (int, float, str, bytes, bool, type(None), np.ndarray)
KINDS = (np.random.Generator, np.random.RandomState, random.Random, Generator)


def find_generators(root: Any) -> list[Any]:
    """Return the random generators that ``root`` holds in attributes, lists, tuples and dicts."""
    found: list[Any] = []
    seen: set[int] = set()
    stack = [root]
    while stack and len(seen) < MAX_VISITED:
        value = stack.pop()
        if id(value) in seen or value is default_generator:
            continue
        seen.add(id(value))
        if isinstance(value, KINDS):
            found.append(value)
        elif isinstance(value, dict | list | tuple):
            if len(value) <= MAX_ENTRIES:
                parts = value.values() if isinstance(value, dict) else value
                stack.extend(part for part in reversed(list(parts)) if type(part) not in ATOMS)
        elif not isinstance(value, type) and hasattr(value, "__dict__"):
            stack.extend(reversed(list(vars(value).values())))
    return found


def get_state(generator: Any) -> Any:
    """Return the state of a generator of any kind."""
    if isinstance(generator, np.random.Generator):
        return generator.bit_generator.state
    if isinstance(generator, random.Random):
        return generator.getstate()
    return generator.get_state()


def set_state(generator: Any, state: Any) -> None:
    """Bring a generator back to a state of :func:`get_state`."""
    if isinstance(generator, np.random.Generator):
        generator.bit_generator.state = state
    elif isinstance(generator, random.Random):
        generator.setstate(state)
    else:
        generator.set_state(state)


def _reseed(generator: Any, sequence: np.random.SeedSequence) -> None:
    """Seed a generator of any kind by ``sequence``."""
    words = sequence.generate_state(4)
    if isinstance(generator, np.random.Generator):
        generator.bit_generator.state = type(generator.bit_generator)(sequence).state
    elif isinstance(generator, np.random.RandomState):
        generator.seed(words)
    elif isinstance(generator, random.Random):
        generator.seed(words.tobytes())
    else:
        generator.manual_seed(int(words[0]) << 32 | int(words[1]))


class Generators:
    """All generators that a worker's dataset may draw from.

    Python's, NumPy's and accelgrad's global generators are seeded from ``(base_seed, worker)``.  Generators
    that the dataset itself holds arrive in every worker as equal copies.  Each is seeded anew from its state
    on arrival, the epoch and the worker: workers draw different numbers, and the same ones in every run.
    """

    def __init__(self, dataset: Any) -> None:
        self.held = find_generators(dataset)
        digests = [hashlib.blake2b(pickle.dumps(get_state(g)), digest_size=16).digest() for g in self.held]
        self.origins = [int.from_bytes(digest, "little") for digest in digests]

    def seed(self, base_seed: int, worker: int, epoch: int) -> None:
        """Seed all generators for epoch number ``epoch`` of worker number ``worker``."""
        random.seed(base_seed + worker)
        words = np.random.SeedSequence([base_seed, worker]).generate_state(4)
        np.random.seed(words)  # noqa: NPY002  what datasets use
        default_generator.manual_seed((base_seed + worker) % 2**63)
        for generator, origin in zip(self.held, self.origins, strict=True):
            _reseed(generator, np.random.SeedSequence([origin, epoch, worker]))

    def states(self) -> Any:
        """Return the states of all generators, for :meth:`restore`."""
        return global_states(), [get_state(generator) for generator in self.held]

    def restore(self, states: Any) -> None:
        """Bring all generators back to ``states``, a result of :meth:`states`."""
        everywhere, held = states
        set_global_states(everywhere)
        for generator, state in zip(self.held, held, strict=True):
            set_state(generator, state)


def global_states() -> tuple[Any, Any, Any]:
    """Return the states of Python's, NumPy's and accelgrad's global generators."""
    return random.getstate(), np.random.get_state(legacy=False), default_generator.get_state()  # noqa: NPY002


def set_global_states(states: tuple[Any, Any, Any]) -> None:
    """Bring the global generators back to ``states``, a result of :func:`global_states`."""
    python, numpy, accelgrad = states
    version, words, gauss = python
    random.setstate((version, tuple(words), gauss))  # JSON makes lists of tuples
    np.random.set_state(numpy)  # noqa: NPY002
    default_generator.set_state(accelgrad)
