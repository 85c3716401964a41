"""Whether confidence means what it says: accuracy by confidence."""

from cin_keras.evaluation.figures.curves import draw_legend


def draw_reliability(axes, before, after=None):
    """Draws how many predictions of each confidence are right; on the diagonal, as many as said.

    The larger a shade, the more predictions it stands for.

    Args:
        axes: Matplotlib axes.
        before: List of dicts, as from `cin_keras.evaluation.reliability`, of the probabilities as
            the network gives them.
        after: Likewise, after the temperature, or `None` where there is none. Defaults to `None`.
    """
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
