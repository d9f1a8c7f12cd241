"""Random numbers: a Generator, the default one, and the calls that seed and save it.

Numbers are drawn on the host by NumPy's Philox (Salmon et al. 2011, "Parallel random numbers: as easy as 1,
2, 3"), so that the CPU and a card see the same values for the same seed.
"""

from __future__ import annotations

import os
import pickle
from typing import Any

import numpy as np

__all__ = ["Generator", "default_generator", "initial_seed", "manual_seed", "seed"]


class Generator:
    """A stream of random numbers with its own state.

    >>> g = Generator().manual_seed(0)
    >>> a = g.numpy.random(3)
    >>> bool((Generator().manual_seed(0).numpy.random(3) == a).all())
    True
    """

    def __init__(self, device: Any = "cpu") -> None:
        self.device = device
        self.manual_seed(67280421310721)

    @property
    def numpy(self) -> np.random.Generator:
        """The NumPy generator that draws for this one."""
        return self._numpy

    def manual_seed(self, seed: int) -> Generator:
        """Start the stream of ``seed`` (any 64-bit integer, negative ones too) and return the generator."""
        if isinstance(seed, bool) or not isinstance(seed, int | np.integer):
            raise TypeError(f"manual_seed expected a long, but got {type(seed).__name__}")
        if not -(2**63) <= int(seed) < 2**64:
            raise RuntimeError("Overflow when unpacking long long: a seed has 64 bits")
        self._seed = int(seed) % 2**64
        self._numpy = np.random.Generator(np.random.Philox(key=self._seed))
        return self

    def seed(self) -> int:
        """Start a stream that nobody can foretell, and return its seed."""
        self.manual_seed(int.from_bytes(os.urandom(8), "little") >> 1)
        return self._seed

    def initial_seed(self) -> int:
        """The seed of the present stream."""
        return self._seed

    def get_state(self) -> np.ndarray:
        """The state as uint8 array, to be given to :meth:`set_state`."""
        content = (self._seed, self._numpy.bit_generator.state)
        return np.frombuffer(pickle.dumps(content, protocol=4), dtype=np.uint8).copy()

    def set_state(self, new_state: Any) -> Generator:
        """Return to a state taken by :meth:`get_state` (a uint8 tensor or array)."""
        raw = np.asarray(getattr(new_state, "array", new_state))
        if raw.dtype != np.uint8:
            raise TypeError(
                "expected a accelgrad.ByteTensor: RNG state must be a uint8 tensor from get_state()"
            )
        try:
            seed, state = _StateReader.loads(raw.tobytes())
            generator = np.random.Generator(np.random.Philox())
            generator.bit_generator.state = state
        except Exception as error:
            raise RuntimeError("RNG state is invalid: give set_state what get_state returned") from error
        self._seed, self._numpy = seed, generator
        return self

    def clone_state(self) -> Generator:
        """A second generator that continues from the same state."""
        return Generator(self.device).set_state(self.get_state())

    def __getstate__(self) -> dict[str, Any]:
        return {"device": self.device, "state": self.get_state()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.device = state["device"]
        self.set_state(state["state"])


class _StateReader(pickle.Unpickler):
    """Reads numbers, dicts and NumPy arrays only: a state from a file never executes code."""

    _allowed = {
        ("numpy", "ndarray"),
        ("numpy", "dtype"),
        ("numpy._core.multiarray", "_reconstruct"),
        ("numpy.core.multiarray", "_reconstruct"),
        ("_codecs", "encode"),
    }

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in self._allowed:
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"{module}.{name} has no place in a generator's state")

    @classmethod
    def loads(cls, data: bytes) -> Any:
        import io

        return cls(io.BytesIO(data)).load()


default_generator = Generator()
default_generator.seed()


def manual_seed(seed: int) -> Generator:
    """Seed the default generator, from which every random operation draws unless it is given another.

    >>> import accelgrad
    >>> _ = accelgrad.manual_seed(0); a = accelgrad.rand(2)
    >>> _ = accelgrad.manual_seed(0); bool((accelgrad.rand(2) == a).all())
    True
    """
    return default_generator.manual_seed(int(seed))


def seed() -> int:
    """Give the default generator a seed that nobody can foretell, and return it."""
    return default_generator.seed()


def initial_seed() -> int:
    """The seed of the default generator."""
    return default_generator.initial_seed()
