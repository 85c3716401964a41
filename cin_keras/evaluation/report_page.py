"""The sections of the page as HTML: plain strings, in which every text is escaped."""

import pathlib
import time
from html import escape
from string import Template

import cin_keras
from cin_keras.evaluation.confidence import wilson_interval
from cin_keras.evaluation.figures import plural
from cin_keras.evaluation.report_pictures import colour_gradient, data_uri
from cin_keras.evaluation.report_style import STYLE

# Nothing in the page runs or is fetched: a browser would refuse it.
PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>$title</title>
<style>$style</style>
</head>
<body>
<header>
<h1>$title</h1>
<p class="soft">$subtitle</p>
</header>
<main>
$sections
</main>
<footer><p>Written by cin_keras $version on $date.</p></footer>
</body>
</html>
""")


def page(title, subtitle, sections):
    """The whole page: str.

    Args:
        title: Str, as text.
        subtitle: Str, as text.
        sections: Sequence of str, as HTML, such as `section` returns.

    Example:

    >>> "<title>Cats &amp; dogs</title>" in page("Cats & dogs", "", [])
    True
    """
    return PAGE.substitute(
        title=escape(title),
        subtitle=escape(subtitle),
        style=STYLE,
        sections="\n".join(sections),
        version=cin_keras.__version__,
        date=time.strftime("%Y-%m-%d"),
    )


def section(name, title, *parts):
    """A section of HTML `parts` under a heading; `name` is its id, for links to it."""
    inside = "\n".join(parts)
    heading = f'<h2 id="{name}-title">{escape(title)}</h2>'
    return f'<section id="{name}" aria-labelledby="{name}-title">\n{heading}\n{inside}\n</section>'


def paragraph(text):
    """A text as a paragraph of HTML."""
    return f"<p>{escape(text)}</p>"


def percent(share):
    """A share from 0 to 1 in words: "81.3%"."""
    return f"{share:.1%}"


def table(caption, columns, rows):
    """A table that scrolls in itself where a screen is narrow.

    Args:
        caption: Str, as text.
        columns: List of `(title, kind)`, as text; kind is `"text"`, `"name"` or `"number"`.
        rows: List of lists, a cell a column; the first heads its row.
    """

    def cell(tag, scope, value, kind):
        return f'<{tag}{scope} class="{kind}">{escape(str(value))}</{tag}>'

    head = "".join(cell("th", ' scope="col"', title, kind) for title, kind in columns)
    body = ""
    for first, *rest in rows:
        cells = cell("th", ' scope="row"', first, columns[0][1])
        cells += "".join(cell("td", "", value, kind) for value, (_, kind) in zip(rest, columns[1:]))
        body += f"<tr>{cells}</tr>\n"
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(caption)}">'
        f"<table><caption>{escape(caption)}</caption>\n"
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody></table></div>"
    )


def settings(values):
    """A dict as a list of names and values."""
    shown = {None: "not set", True: "yes", False: "no"}
    items = ""
    for name, value in values.items():
        text = shown[value] if value is None or isinstance(value, bool) else str(value)
        name = str(name).replace("_", " ")
        items += f"<div><dt>{escape(name)}</dt><dd>{escape(text)}</dd></div>\n"
    return f'<dl class="settings">\n{items}</dl>'


def interval_bar(right, images):
    """An accuracy and its confidence interval, drawn from 0 to 100 %; for the eye alone."""
    low, high = wilson_interval(right, images)
    return (
        f'<div class="bar" aria-hidden="true"><i style="left:{low:.1%};width:{high - low:.1%}"></i>'
        f'<b style="left:{right / images:.1%}"></b></div>'
    )


def accuracy_section(right, images, in_five, commonest):
    """How many test images were right.

    Args:
        right: Int, of all test images.
        images: Int, how many there are.
        in_five: Int, how many had the true class among the five highest scores; `None` where
            there are no more than five classes.
        commonest: Int, how many are of the class with the most.
    """
    low, high = wilson_interval(right, images)
    five = ""
    if in_five is not None:
        share = percent(in_five / images)
        five = f"<p><strong>{share}</strong> had the true class in the first five</p>"
    return section(
        "accuracy",
        "Accuracy",
        '<div class="figures">',
        f'<div><p><strong id="accuracy-value">{percent(right / images)}</strong>'
        f"{right} of {plural(images, 'test image')} right</p>",
        interval_bar(right, images),
        f'<p class="soft">95% confidence interval: <span id="accuracy-interval">{percent(low)} to '
        f"{percent(high)}</span> (Wilson; images taken as independent)</p></div>",
        five,
        f"<p><strong>{percent(commonest / images)}</strong> would be right by always naming the "
        "most frequent class</p>",
        "</div>",
    )


def data_section(facts, splits, remarks, duplicates, skipped):
    """What was trained on what.

    Args:
        facts: Dict from name to value: model, data, and so on.
        splits: Dict from `"train"`, … to `Samples`.
        remarks: List of str, what else there is to know.
        duplicates: Dict from a split's name to how many test images it has, too, `None` where
            they were not compared.
        skipped: Dict from a set's name to a dict, path → what is wrong with the file.
    """
    rows = []
    for name, samples in splits.items():
        numbers = [int((samples.labels == label).sum()) for label in range(samples.num_classes)]
        filled = [number for number in numbers if number]
        few, many = min(filled), max(filled)
        each = f"{few}" if few == many else f"{few}–{many}"
        rows.append([name, len(samples), len(filled), each])
    columns = [("split", "text"), ("images", "number"), ("classes", "number")]
    parts = [settings(facts), table("Images", [*columns, ("a class", "number")], rows)]
    parts += [paragraph(remark) for remark in remarks]
    if "train" not in splits:
        parts.append(paragraph("The images that the model was trained on were not at hand."))
    for name, number in duplicates.items():
        if number is None:
            text = f"Whether test images are among those of {name}, too, was not found out."
        elif number:
            text = (
                f"{number} of the test images {'is' if number == 1 else 'are'} among those of "
                f"{name}, too (the same bytes): what they show proves nothing."
            )
        else:
            text = f"No test image is among those of {name}, too (the same bytes)."
        parts.append(paragraph(text))
    if skipped and not any(skipped.values()):
        parts.append(paragraph("No image was left out as unreadable."))
    for name, reasons in skipped.items():
        if reasons:
            text = f"{plural(len(reasons), 'image')} of {name} could not be read and "
            text += "was left out." if len(reasons) == 1 else "were left out."
            parts.append(paragraph(text))
            items = "".join(
                f"<li>{escape(path)}: {escape(reason)}</li>\n" for path, reason in reasons.items()
            )
            parts.append(f"<details><summary>Which</summary><ul>\n{items}</ul></details>")
    return section("data", "What was trained on what", *parts)


def curves_section(panels, validation):
    """The learning curves.

    Args:
        panels: List of str, SVG elements; empty where the training is not known.
        validation: List of the accuracies on validation images, an epoch each, or `None`.
    """
    if not panels:
        return section(
            "curves",
            "Learning curves",
            paragraph("None: this page was written without the history of the training."),
        )
    drawn = "\n".join(f"<div>{panel}</div>" for panel in panels)
    text = []
    known = [(value, -epoch) for epoch, value in enumerate(validation or [], 1) if value == value]
    if known:
        best, epoch = max(known)
        text = [
            paragraph(
                f"Best on the validation images: {percent(best)}, after epoch {-epoch} of "
                f"{len(validation)}."
            )
        ]
    return section("curves", "Learning curves", *text, f'<div class="curves">\n{drawn}\n</div>')


def pairs_section(pairs, photographs, class_names, totals, probabilities, source, no_maps):
    """The pairs of classes that are confused most, in pictures.

    Args:
        pairs: List of `ConfusedPair`.
        photographs: As from `photographs_of`.
        class_names: Sequence of str.
        totals: Ints `(classes,)`, numbers of test images.
        probabilities: Floats `(images, classes)`.
        source: Str, `"training"` or `"test"`: where the photographs of the other class are from.
        no_maps: Str, why there are no contrast maps, or `None` if there are.
    """
    title = "Classes confused most"
    if not pairs:
        return section("pairs", title, paragraph("None: every test image was recognised."))
    text = (
        "On the left, of all test photographs of a class that were taken for another, the one "
        f"that the model got most wrong, with the model's probabilities for both; on the right, a "
        f"{source} photograph of that other class. "
    )
    if no_maps:
        text += f"There are no contrast maps: {no_maps}."
    else:
        text += (
            "Beneath each, where in it the two classes differ, by the weights of the model's own "
            "classifier: bright where the photograph speaks for the class on the right, dark "
            "where it speaks for the one on the left, each on a scale of its own."
        )
    articles = "\n".join(
        pair_article(pair, shown, class_names, totals, probabilities, source)
        for pair, shown in zip(pairs, photographs)
    )
    return section("pairs", title, paragraph(text), f'<div class="pairs">\n{articles}\n</div>')


def pair_article(pair, photographs, class_names, totals, probabilities, source):
    """One confused pair of classes: the true one on the left, the one taken for on the right."""
    true, taken_for = class_names[pair.true], class_names[pair.taken_for]
    confused, other = photographs
    text = f"{pair.count} of {totals[pair.true]} on the left taken for the right"
    if totals[pair.taken_for]:
        text += f", {pair.reverse} of {totals[pair.taken_for]} the other way round"
    caption = "Test photograph"
    if confused:
        row = probabilities[confused.index]
        caption += f", {percent(row[pair.true])} left, {percent(row[pair.taken_for])} right"
    figures = [
        photograph_figure(confused, caption, f"{true}, taken for {taken_for}"),
        photograph_figure(other, f"{source.capitalize()} photograph", taken_for),
    ]
    scale = ""
    if any(photograph and photograph.contrast is not None for photograph in photographs):
        scale = (
            f'<div class="scale"><i style="background:{colour_gradient()}"></i>'
            "<span>speaks for the left</span><span>for the right</span></div>\n"
        )
    return (
        f'<article>\n<h3><span class="left"><small>true class</small> {escape(true)}</span>'
        f'<span class="right"><small>taken for</small> {escape(taken_for)}</span></h3>\n'
        f'<p class="soft">{escape(text)}.</p>\n'
        f'<div class="photographs">\n{figures[0]}\n{figures[1]}\n</div>\n{scale}</article>'
    )


def photograph_figure(photograph, caption, content):
    """A photograph with, beneath it, its contrast map, and a caption; `content`: what it shows."""
    if photograph is None:
        picture = '<p class="missing soft">There is no photograph that can be read.</p>'
        return f"<figure>{picture}<figcaption>{escape(caption)}</figcaption></figure>"
    pictures = [(photograph.image, content)]
    if photograph.contrast is not None:
        pictures.append((photograph.contrast, f"Contrast map over the same: {content}"))
    images = "\n".join(
        f'<img alt="{escape(text)}" width="{picture.shape[1]}" height="{picture.shape[0]}" '
        f'src="{data_uri(picture)}">'
        for picture, text in pictures
    )
    caption = f"{escape(caption)}<br>{escape(pathlib.PurePath(photograph.path).name)}"
    return f"<figure>{images}<figcaption>{caption}</figcaption></figure>"


def worst_section(results, wrong, class_names):
    """The classes of which the smallest share was right.

    Args:
        results: List of `ClassResult`, the worst first.
        wrong: Int, how many classes have a mistake, shown or not.
        class_names: Sequence of str.
    """
    title = "Worst classes"
    if not results:
        return section("worst", title, paragraph("None: every test image was recognised."))
    rows = []
    for label, images, right, taken_for, times in results:
        low, high = wilson_interval(right, images)
        rows.append(
            [
                class_names[label],
                images,
                right,
                percent(right / images),
                f"{percent(low)} to {percent(high)}",
                f"{class_names[taken_for]} ({times})",
            ]
        )
    columns = [
        ("class", "name"),
        ("images", "number"),
        ("right", "number"),
        ("accuracy", "number"),
        ("95% interval", "number"),
        ("taken most often for", "name"),
    ]
    text = f"{len(results)} of {plural(wrong, 'class', 'classes')} with a mistake"
    return section("worst", title, table(text, columns, rows))


def repeat_section(command, values, versions):
    """What it takes to have the same again.

    Args:
        command: Str, or `None` where it is not known.
        values: Dict, the settings.
        versions: Dict from package to version.
    """
    parts = []
    if command:
        parts.append(f'<pre><code id="command">{escape(command)}</code></pre>')
    if values:
        parts += ["<h3>Settings</h3>", settings(values)]
    if versions:
        parts += ["<h3>Versions</h3>", settings(versions)]
    return section("repeat", "To repeat it", *parts) if parts else ""
