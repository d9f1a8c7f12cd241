"""Fixtures of the loader's tests: scripts in process groups of their own, and the soak test's switch."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Iterator

import pytest

from accelgrad.utils.data.nursery import shared_nursery

from .scenario import R0, Outcome, Script


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if "soak" not in (config.getoption("-m") or ""):
        for item in items:
            if item.get_closest_marker("soak"):
                item.add_marker(pytest.mark.skip(reason="a long randomised test: pytest -m soak"))


@pytest.fixture(scope="session", autouse=True)
def nursery() -> Iterator[None]:
    """One nursery for all tests of this process: starting one takes longer than most of them."""
    user = shared_nursery()
    user.get()
    yield
    user.release()


@pytest.fixture
def start(tmp_path: pathlib.Path) -> Callable[..., Script]:
    """Start a script (see :class:`scenario.Script`)."""
    return lambda body, **options: Script(body, folder=tmp_path, **options)


@pytest.fixture
def run(start: Callable[..., Script]) -> Callable[..., Outcome]:
    """Run a script to its end."""

    def run(body: str, limit: float = 40, **options: str) -> Outcome:
        return start(body, **options).end(limit)

    return run


@pytest.fixture
def r0() -> R0:
    """The resource condition, as a context manager."""
    return R0()
