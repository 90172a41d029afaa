"""Curves as an SVG picture: a few lines over rounds, on a logarithmic axis. No plotting library is needed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from xml.sax.saxutils import escape

Points = Sequence[tuple[float, float]]
COLOURS = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e")
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 640, 320, 70, 150, 40, 45


def curves_svg(title: str, across: str, lines: Mapping[str, Points]) -> str:
    """Lines of points (x >= 0, y) by name; x runs as log(1 + x), y from 0 to the largest value."""
    points = [point for line in lines.values() for point in line if math.isfinite(point[1])]
    most_x = max((math.log1p(x) for x, _ in points), default=1.0) or 1.0
    most_y = max((y for _, y in points), default=1.0) or 1.0

    def place(x: float, y: float) -> str:
        right = LEFT + (WIDTH - LEFT - RIGHT) * math.log1p(x) / most_x
        down = HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * max(0.0, y) / most_y
        return f"{right:.1f},{down:.1f}"

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<text x="{LEFT}" y="22" font-size="14">{escape(title)}</text>',
        f'<polyline points="{LEFT},{TOP} {LEFT},{HEIGHT - BOTTOM} {WIDTH - RIGHT},{HEIGHT - BOTTOM}" '
        'fill="none" stroke="black"/>',
        f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 8}" text-anchor="middle">{escape(across)}</text>',
    ]
    for share in (0.0, 0.5, 1.0):
        _, down = place(0.0, share * most_y).split(",")
        parts.append(f'<text x="{LEFT - 6}" y="{down}" text-anchor="end">{share * most_y:.3g}</text>')
    for x in sorted({x for x, _ in points}):
        if x == 0 or math.log10(x).is_integer():
            right, _ = place(x, 0.0).split(",")
            parts.append(f'<text x="{right}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{x:g}</text>')
    for index, (name, line) in enumerate(lines.items()):
        colour = COLOURS[index % len(COLOURS)]
        path = " ".join(place(x, y) for x, y in line if math.isfinite(y))
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts.append(f'<text x="{WIDTH - RIGHT + 8}" y="{TOP + 16 * index}" fill="{colour}">{escape(name)}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"
