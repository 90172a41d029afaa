"""Draws the figures of docs/method.md as SVG files, into docs/images: `python -m docs.figures`.

The figure of the plan is drawn from the plan itself, so it cannot say anything else than `semivae show`.
"""

from __future__ import annotations

from html import escape
from pathlib import Path

from semivae.game.graphs import PlayerName
from semivae.game.plan import Lesson
from semivae.recipe import Recipe, find_recipe, read_recipe
from semivae.scenario.plan import plan_of

IMAGES = Path(__file__).parent / "images"
WIDTH = 580  # small, so that texts can be read on a telephone
DECODER, ENCODER, INK, PALE, PAPER = "#1a5fb4", "#b84300", "#222222", "#8a8a8a", "#ffffff"
COLOUR: dict[PlayerName, str] = {"decoder": DECODER, "encoder": ENCODER}
RADIUS = 19


class Drawing:
    """An SVG picture, built up of texts, circles, boxes and arrows."""

    def __init__(self, height: int, says: str) -> None:
        self.height = height
        self.says = says
        self.parts: list[str] = []

    def text(
        self,
        x: float,
        y: float,
        text: str,
        colour: str = INK,
        anchor: str = "middle",
        size: int = 17,
        bold: bool = False,
    ) -> None:
        """One line of text, whose middle is at the height y."""
        weight = ' font-weight="bold"' if bold else ""
        self.parts.append(
            f'<text x="{x:g}" y="{y + 0.35 * size:g}" fill="{colour}" text-anchor="{anchor}" '
            f'font-size="{size}"{weight}>{escape(text)}</text>'
        )

    def circle(self, x: float, y: float, text: str, fill: str = PAPER, line: str = INK, colour: str = INK) -> None:
        """A variable."""
        self.parts.append(
            f'<circle cx="{x:g}" cy="{y:g}" r="{RADIUS}" fill="{fill}" stroke="{line}" stroke-width="2"/>'
        )
        self.text(x, y, text, colour)

    def box(self, x: float, y: float, width: float, height: float, line: str, lines: list[str]) -> None:
        """A rounded box with lines of text, the first one bold."""
        self.parts.append(
            f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="8" fill="{PAPER}" stroke="{line}" '
            'stroke-width="2"/>'
        )
        top = y + height / 2 - 11 * (len(lines) - 1)
        for number, line_of_text in enumerate(lines):
            self.text(x + width / 2, top + 22 * number, line_of_text, line if number == 0 else INK, bold=number == 0)

    def arrow(
        self,
        start: tuple[float, float],
        end: tuple[float, float],
        colour: str,
        bend: float = 0.0,
        free: float = RADIUS + 3,
    ) -> None:
        """An arrow between two places, which ends `free` before each; `bend` moves its middle to the side."""
        (x0, y0), (x1, y1) = start, end
        length = ((x1 - x0) ** 2 + (y1 - y0) ** 2) ** 0.5
        along = ((x1 - x0) / length, (y1 - y0) / length)
        middle = ((x0 + x1) / 2 - bend * along[1], (y0 + y1) / 2 + bend * along[0])
        ends = []
        for place in (start, end):
            far = ((middle[0] - place[0]) ** 2 + (middle[1] - place[1]) ** 2) ** 0.5
            ends.append(tuple(at + free * (to - at) / far for at, to in zip(place, middle, strict=True)))
        (x0, y0), (x1, y1) = ends
        name = "to-" + colour.lstrip("#")
        self.parts.append(
            f'<path d="M{x0:.1f} {y0:.1f} Q{middle[0]:.1f} {middle[1]:.1f} {x1:.1f} {y1:.1f}" fill="none" '
            f'stroke="{colour}" stroke-width="2" marker-end="url(#{name})"/>'
        )

    def svg(self) -> str:
        """The file's text."""
        heads = "".join(
            f'<marker id="to-{colour.lstrip("#")}" viewBox="0 0 10 10" refX="8" refY="5" markerWidth="6" '
            f'markerHeight="6" orient="auto"><path d="M0 0L10 5L0 10z" fill="{colour}"/></marker>'
            for colour in (DECODER, ENCODER, INK, PALE)
        )
        return "\n".join(
            [
                f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {self.height}" role="img" '
                f'font-family="Helvetica, Arial, sans-serif" aria-label="{escape(self.says)}">',
                f"<defs>{heads}</defs>",
                f'<rect width="{WIDTH}" height="{self.height}" fill="{PAPER}"/>',
                *self.parts,
                "</svg>\n",
            ]
        )


def players() -> Drawing:
    """The two players as graphs, and what each hands to the other."""
    drawing = Drawing(330, "The encoder draws label and codes from an image, the decoder an image from them.")
    for left, player, name in ((30, "encoder", "Encoder"), (370, "decoder", "Decoder")):
        colour = ENCODER if player == "encoder" else DECODER
        drawing.text(left + 90, 24, name, colour, size=20, bold=True)
        y, h, x = (left + 40, 90), (left + 140, 90), (left + 90, 200)
        if player == "encoder":
            for start, end in ((x, y), (x, h), (y, h)):
                drawing.arrow(start, end, colour)
        else:
            for start, end in ((y, x), (h, x)):
                drawing.arrow(start, end, colour)
        for place, text in ((y, "y"), (h, "h"), (x, "x")):
            drawing.circle(*place, text)
        factors = "q(y | x) q(h | x, y)" if player == "encoder" else "p(y) p(h) p(x | y, h)"
        drawing.text(left + 90, 246, factors, colour)
    drawing.arrow((205, 120), (375, 120), ENCODER, free=12)
    drawing.text(290, 98, "draws y, h", ENCODER)
    drawing.arrow((375, 172), (205, 172), DECODER, free=12)
    drawing.text(290, 194, "draws h, x", DECODER)
    drawing.text(290, 284, "Each completes examples for the other, and")
    drawing.text(290, 307, "learns from what the other has completed.")
    return drawing


def plan_figure(recipe: Recipe) -> Drawing:
    """A row for each lesson: what the stream shows, what the other player draws, and what is learnt from it."""
    row = 62
    plan = plan_of(recipe)
    drawing = Drawing(56 + row * len(plan.lessons) + 58, "The plan: who learns what from which stream.")
    drawing.text(16, 22, "stream", PALE, "start")
    drawing.text(212, 22, "one example", PALE)
    drawing.text(345, 22, "teaches", PALE, "start")
    for number, lesson in enumerate(plan.lessons):
        y = 68 + row * number
        drawing.text(16, y, lesson.stream, anchor="start")
        _example(drawing, y, lesson, recipe.streams[lesson.stream].observe, tuple(recipe.variables))
        colour = COLOUR[lesson.learner]
        drawing.arrow((285, y), (335, y), colour, free=4)
        factors = {factor.target: factor.text(lesson.learner) for factor in plan.graphs[lesson.learner]}
        said = ", ".join(factors[target] for target in lesson.scores)
        drawing.text(345, y - 10, lesson.learner, colour, "start", bold=True)
        drawing.text(345, y + 12, said + (" on a strong view" if lesson.self_training else ""), INK, "start")
    y = drawing.height - 32
    for x, fill, line, text in (
        (30, INK, INK, "observed"),
        (175, PAPER, ENCODER, "drawn by the encoder"),
        (395, PAPER, DECODER, "by the decoder"),
    ):
        drawing.parts.append(f'<circle cx="{x}" cy="{y}" r="9" fill="{fill}" stroke="{line}" stroke-width="2"/>')
        drawing.text(x + 16, y, text, anchor="start", size=15)
    return drawing


def _example(drawing: Drawing, y: float, lesson: Lesson, observed: tuple[str, ...], variables: tuple[str, ...]) -> None:
    """The variables of one example: observed, drawn, or not there."""
    other: PlayerName = "encoder" if lesson.self_training or lesson.learner == "decoder" else "decoder"
    drawn = lesson.scores if lesson.self_training else lesson.draws
    for place, name in enumerate(variables):
        x = 160 + 52 * place
        if name in observed:
            drawing.circle(x, y, name, fill=INK, colour=PAPER)
        elif name in drawn:
            drawing.circle(x, y, name, line=COLOUR[other], colour=COLOUR[other])


def step() -> Drawing:
    """One step of the game, in its order."""
    drawing = Drawing(
        400, "One step: the encoder's average completes, the decoder learns, the decoder completes, the encoder learns."
    )
    rows = (
        (ENCODER, ["1  The encoder's EMA completes", "labelled and unlabelled batches: draws h, y"]),
        (DECODER, ["2  The decoder learns", "one step on -log p of these examples"]),
        (DECODER, ["3  The decoder completes", "the label-only batch: draws h, x"]),
        (ENCODER, ["4  The encoder learns", "one step on -log q of these, of pairs, and of views"]),
    )
    for number, (colour, lines) in enumerate(rows):
        top = 16 + 96 * number
        drawing.box(60, top, 460, 68, colour, lines)
        if number:
            drawing.arrow((290, top - 28), (290, top), INK, free=3)
    return drawing


def hierarchies() -> Drawing:
    """Reverse and ladder encoders of one decoder with two levels."""
    drawing = Drawing(350, "A decoder of two levels, its reverse encoder, and its ladder encoder.")
    for left, name, colour in ((20, "decoder", DECODER), (210, "reverse", ENCODER), (400, "ladder", ENCODER)):
        top, low, image = (left + 70, 80), (left + 70, 170), (left + 70, 260)
        drawing.text(left + 70, 24, name, colour, size=20, bold=True)
        if name == "decoder":
            drawing.arrow(top, low, colour)
            drawing.arrow(low, image, colour)
        elif name == "reverse":
            drawing.arrow(image, low, colour)
            drawing.arrow(low, top, colour)
        else:
            drawing.arrow(image, top, colour, bend=-95)
            drawing.arrow(image, low, colour, bend=-28)
            drawing.arrow(top, low, DECODER)
        for place, text in ((top, "z0"), (low, "z1"), (image, "x")):
            drawing.circle(*place, text)
    drawing.text(90, 310, "p(z0) p(z1 | z0) p(x | z1)", DECODER, size=14)
    drawing.text(280, 310, "q(z1 | x) q(z0 | z1)", ENCODER, size=14)
    drawing.text(470, 310, "q(z0 | x) q(z1 | z0, x)", ENCODER, size=14)
    drawing.text(470, 332, "with the decoder's p(z1 | z0)", DECODER, size=13)
    return drawing


def figures() -> dict[str, str]:
    """Every figure: its file's name and its text."""
    recipe = read_recipe(find_recipe("digits_50labels"))
    drawings = {
        "players": players(),
        "plan": plan_figure(recipe),
        "step": step(),
        "hierarchies": hierarchies(),
    }
    return {f"method_{name}.svg": drawing.svg() for name, drawing in drawings.items()}


if __name__ == "__main__":
    for name, text in figures().items():
        (IMAGES / name).write_text(text, encoding="utf-8")
