"""Pictures as SVG text of our own making: the picture object, and the shapes it is put together from."""

from __future__ import annotations

import html
import itertools
import pathlib
from typing import Any

__all__ = ["SVG", "Canvas", "text_width"]

INK, GREY, LINE, PALE = "#20242b", "#6b7079", "#aab0b9", "#f3f4f6"
BLUE, ORANGE, GREEN, RED, VIOLET = "#3b6fb6", "#d9822b", "#2c7a4b", "#b3312c", "#7a4fa3"
SOFT = {BLUE: "#e8f0fb", ORANGE: "#fdf1e3", GREEN: "#e8f5ec", RED: "#fdecea", VIOLET: "#f2ecf8", GREY: PALE}
SERIES = (BLUE, ORANGE, GREEN, VIOLET, RED, "#2a8c8c", "#8a6d1f", GREY)

MONO = "'DejaVu Sans Mono', Menlo, Consolas, monospace"
_numbers = itertools.count(1)


def text_width(text: str, size: float = 11) -> float:
    """The width of ``text`` in pixels: all letters of the font are 0.61 of its size wide, or less."""
    return 0.61 * size * len(text)


class SVG:
    """A finished picture: shows itself in Jupyter, and ``save`` writes it as ``.svg`` or ``.html``."""

    def __init__(self, text: str, width: float, height: float) -> None:
        self.text, self.width, self.height = text, width, height

    def _repr_svg_(self) -> str:
        return self.text

    def _repr_html_(self) -> str:
        return f'<div style="overflow-x:auto">{self.text}</div>'

    def save(self, path: Any) -> None:
        """Write the picture; ValueError for another ending than ``.svg`` or ``.html``."""
        path = pathlib.Path(path)
        if path.suffix not in (".svg", ".html"):
            raise ValueError(f"an SVG picture is saved as .svg or .html, got {path.name!r}")
        path.write_text(self.text if path.suffix == ".svg" else page(self._repr_html_()), encoding="utf-8")

    def __repr__(self) -> str:
        return f"<SVG {self.width:g} x {self.height:g} pixels; .save('picture.svg') writes it>"


def page(body: str) -> str:
    """A whole HTML page around ``body``."""
    return f'<!DOCTYPE html><html><head><meta charset="utf-8"></head><body>{body}</body></html>'


class Canvas:
    """Collects shapes; :meth:`finish` makes the picture.  Coordinates are pixels, y points down."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self.right = self.bottom = 0.0
        self.name = f"ag{next(_numbers)}"
        self.arrows: dict[str, str] = {}

    def box(
        self,
        x: float,
        y: float,
        width: float,
        height: float,
        fill: str = "white",
        stroke: str = LINE,
        radius: float = 4,
        dash: str = "",
        thick: float = 1.2,
    ) -> None:
        """A rectangle with its upper left corner at (x, y)."""
        self._grow(x + width, y + height)
        dashed = f' stroke-dasharray="{dash}"' if dash else ""
        self.parts.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" rx="{radius:g}"'
            f' fill="{fill}" stroke="{stroke}" stroke-width="{thick:g}"{dashed}/>'
        )

    def text(
        self,
        x: float,
        y: float,
        text: str,
        size: float = 11,
        color: str = INK,
        anchor: str = "start",
        bold: bool = False,
    ) -> None:
        """Text on the base line y; ``anchor`` is start, middle or end."""
        width = text_width(text, size)
        self._grow(x + {"start": width, "middle": width / 2, "end": 0}[anchor], y + 0.3 * size)
        weight = ' font-weight="bold"' if bold else ""
        self.parts.append(
            f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size:g}" fill="{color}" text-anchor="{anchor}"'
            f"{weight}>{html.escape(text)}</text>"
        )

    def line(
        self,
        x: float,
        y: float,
        to_x: float,
        to_y: float,
        color: str = LINE,
        thick: float = 1.2,
        arrow: bool = False,
        dash: str = "",
    ) -> None:
        """A straight line, with an arrow's head at its end if wanted."""
        self.path(f"M {x:.1f} {y:.1f} L {to_x:.1f} {to_y:.1f}", color, thick, arrow, dash)
        self._grow(max(x, to_x), max(y, to_y))

    def path(
        self, shape: str, color: str = LINE, thick: float = 1.2, arrow: bool = False, dash: str = ""
    ) -> None:
        """A curve in SVG's path language."""
        end = f' marker-end="url(#{self._arrow(color)})"' if arrow else ""
        dashed = f' stroke-dasharray="{dash}"' if dash else ""
        self.parts.append(
            f'<path d="{shape}" fill="none" stroke="{color}" stroke-width="{thick:g}"{end}{dashed}/>'
        )

    def finish(self, margin: float = 10, title: str = "") -> SVG:
        """The picture of everything so far, on white."""
        width, height = self.right + margin, self.bottom + margin
        marks = "".join(self.arrows.values())
        label = f"<title>{html.escape(title)}</title>" if title else ""
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}"'
            f' viewBox="0 0 {width:.0f} {height:.0f}" font-family="{html.escape(MONO)}">{label}'
            f'<defs>{marks}</defs><rect width="100%" height="100%" fill="white"/>'
        )
        return SVG(head + "".join(self.parts) + "</svg>", round(width), round(height))

    def _arrow(self, color: str) -> str:
        name = f"{self.name}-{color.lstrip('#')}"
        self.arrows[name] = (
            f'<marker id="{name}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="9" markerHeight="9"'
            f' markerUnits="userSpaceOnUse"'
            f' orient="auto"><path d="M 0 0.8 L 7.5 4 L 0 7.2 z" fill="{color}"/></marker>'
        )
        return name

    def _grow(self, x: float, y: float) -> None:
        self.right, self.bottom = max(self.right, x), max(self.bottom, y)
