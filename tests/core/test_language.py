"""Rules of the prose that ruff does not keep: where comments stand, and the form of section heads."""

from __future__ import annotations

import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
FILES = sorted((ROOT / "accelgrad").rglob("*.py")) + sorted((ROOT / "kernels").rglob("*.py"))
BY_FILE = pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))

BEHIND_A_BRACKET = re.compile(r"^\s*[\])}]+[:,]?\s+# (?!fmt:|type:|noqa|mypy|\()")
"""A remark there belongs above what it explains; a shape in parentheses may stand there."""

RULER = re.compile(r"^\s*# ?-{4,}|^\s*# -+ .*-{2,}$|^\s*# ?={3,}")
"""A section head is ``# --- its name``: left, one length."""


@BY_FILE
def test_comments_stand_above_what_they_explain(path: pathlib.Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    assert [f"{n}: {line}" for n, line in enumerate(lines, 1) if BEHIND_A_BRACKET.match(line)] == []


@BY_FILE
def test_section_heads_have_one_form(path: pathlib.Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    assert [f"{n}: {line}" for n, line in enumerate(lines, 1) if RULER.match(line)] == []
