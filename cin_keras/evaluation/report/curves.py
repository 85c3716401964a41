"""Learning curves as drawings inside the page, in the page's own colours."""

import io
import re
from html import escape

from matplotlib import rc_context
from matplotlib.figure import Figure

from cin_keras.evaluation.figures.curves import (
    checked_curves,
    draw_accuracies,
    draw_legend,
    draw_losses,
)

# What matplotlib draws in these colours, the page shows in those of its scheme, light or dark.
PAGE_COLOURS = {
    "#0072b2": "var(--blue)",
    "#009e73": "var(--green)",
    "#cc79a7": "var(--pink)",
    "#d55e00": "var(--orange)",
    "#e6e6e6": "var(--line)",
    "#666666": "var(--soft)",
    "#000000": "var(--text)",
}


def learning_curves_svg(history):
    """Losses and accuracies of a training run as two SVG elements, to stand in an HTML page.

    The page defines the colours `--blue`, `--green`, `--pink`, `--orange`, `--line`, `--soft`
    and `--text`; text has the element's `fill`.

    Args:
        history: As for `cin_keras.evaluation.figures.learning_curves`.

    Returns:
        List of two str.

    Raises:
        ValueError: As `cin_keras.evaluation.figures.learning_curves`.

    Example:

    >>> losses, accuracies = learning_curves_svg({"loss": [5.3, 3.1], "val_accuracy": [0.1, 0.6]})
    >>> losses.startswith("<svg")
    True
    """
    curves, epochs = checked_curves(history)
    panels = []
    for name, draw in (("loss", draw_losses), ("accuracy", draw_accuracies)):
        figure = Figure(figsize=(4.6, 4), layout="constrained")
        draw(figure.subplots(), curves, epochs)
        panels.append(to_svg(figure, name, f"Learning curves: {name} by epoch"))
    return panels


def reliability_svg(before, after=None):
    """Accuracy by confidence, before and after the temperature, as an SVG element.

    On the diagonal as many predictions are right as said; the larger a shade, the more it stands
    for.

    Args:
        before: List of dicts, as from `cin_keras.evaluation.reliability`.
        after: Likewise, or `None` where there is no temperature. Defaults to `None`.

    Returns:
        Str.
    """
    figure = Figure(figsize=(4.6, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 100], [0, 100], color="#666666", linestyle=":", label="as it says")
    drawn = [("before the temperature", before, "#D55E00", "--", "s")] if after else []
    drawn += [("predictions", after or before, "#0072B2", "-", "o")]
    for label, rows, colour, line, marker in drawn:
        rows = [row for row in rows if row["images"]]
        images = sum(row["images"] for row in rows)
        confidence = [100 * row["confidence"] for row in rows]
        accuracy = [100 * row["accuracy"] for row in rows]
        axes.plot(confidence, accuracy, color=colour, linestyle=line, marker=marker, label=label)
        sizes = [20 + 500 * row["images"] / images for row in rows]
        axes.scatter(confidence, accuracy, s=sizes, color=colour, alpha=0.25, marker=marker)
    axes.set_xlabel("confidence in %")
    axes.set_ylabel("right in %")
    axes.set_xlim(0, 102)
    axes.set_ylim(-2, 102)
    axes.grid(color="0.9")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    draw_legend(axes)
    return to_svg(figure, "reliability", "Accuracy of predictions by their confidence")


def to_svg(figure, name, description):
    """A figure as an SVG element.

    Args:
        figure: `matplotlib.figure.Figure`.
        name: Str, which no other figure of the page has: its ids begin with it.
        description: Str, for those who do not see the figure.

    Returns:
        Str.
    """
    file = io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    svg = file.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'((?: id=")|(?:url\(#)|(?:href="#))', rf"\g<1>{name}-", svg)
    svg = svg.replace("<svg ", f'<svg role="img" aria-label="{escape(description)}" ', 1)
    for drawn, shown in PAGE_COLOURS.items():
        svg = re.sub(drawn, shown, svg, flags=re.IGNORECASE)
    return svg
