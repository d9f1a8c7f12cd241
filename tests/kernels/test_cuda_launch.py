"""How CUDA kernels are loaded, as far as that shows without a card."""

from __future__ import annotations

import pathlib
from typing import Any

import pytest

launch: Any = pytest.importorskip("accelgrad.kernels.cuda.launch")


def make_nothing(T: Any) -> Any:
    return lambda x: None


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A program whose loading is counted and fails on cards of capability 7.5."""
    monkeypatch.setattr(launch, "PROGRAMS", [])
    made = launch.Program(make_nothing, "i")
    made.asked = []

    def load(char: str) -> Any:
        made.asked.append((char, launch.card_kind()))
        if launch.card_kind() == "75":
            raise launch.Unavailable("no machine code")
        return lambda grid, threads, args: made.asked.append(args)

    monkeypatch.setattr(made, "load", load)
    return made


def test_a_kernel_that_cannot_be_loaded_is_tried_once(program: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "card_kind", lambda: "75")
    monkeypatch.setattr(launch, "one_kind", lambda: True)
    for _ in range(3):
        with pytest.raises(launch.Unavailable, match="no machine code"):
            program(1, 32, "f", 5)
    assert program.asked == [("f", "75")]


def test_each_kind_of_card_gets_machine_code_of_its_own(
    program: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "one_kind", lambda: False)
    for kind in ("80", "90", "80"):
        monkeypatch.setattr(launch, "card_kind", lambda kind=kind: kind)
        program(1, 32, "f", 5)
    assert [one for one in program.asked if len(one) == 2] == [("f", "80"), ("f", "90")]
    assert program.asked.count((5,)) == 3


def test_where_all_cards_are_of_one_kind_nobody_asks_again(
    program: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    questions: list[None] = []
    monkeypatch.setattr(launch, "card_kind", lambda: questions.append(None) or "90")
    monkeypatch.setattr(launch, "one_kind", lambda: True)
    program(1, 32, "f", 5)
    asked = len(questions)
    program((2, 3), 32, "f", 6)
    assert len(questions) == asked and program.asked[-2:] == [(5,), (6,)]


class FakeCupy:
    """What load_cubin asks of CuPy; it reads the file, as CuPy does on every card that wants the kernel."""

    class RawModule:
        def __init__(self, path: str) -> None:
            self.content = pathlib.Path(path).read_bytes()

        def get_function(self, entry: str) -> Any:
            return self.content, entry


@pytest.mark.parametrize("kept", [True, False])
def test_machine_code_and_its_entry_are_found_again(
    kept: bool, program: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    compiled = []

    def cubin(char: str, arch: int) -> tuple[bytes, str, str]:
        compiled.append((char, arch))
        return b"machine code", "the_entry", ""

    monkeypatch.setattr(program, "cubin", cubin)
    monkeypatch.setattr(launch, "cache_folder", lambda: str(tmp_path) if kept else None)
    for _ in range(2):
        assert launch.load_cubin(FakeCupy, program, "f", 90) == (b"machine code", "the_entry")
    assert compiled == [("f", 90)]
    folder = tmp_path if kept else pathlib.Path(launch.own_folder())
    names = sorted(file.suffix for file in folder.rglob("*") if file.is_file())
    assert names == [".cubin", ".entry"], "nothing half-written is left"
