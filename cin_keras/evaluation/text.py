"""Names and numbers as the figures and the report write them."""


def shorten(name, width):
    """`name` on one line of at most `width` characters; an ellipsis stands for its middle."""
    # The middle, as names such as "Audi S4 Sedan 2007" often differ at the end only.
    name = " ".join(str(name).split())
    if len(name) <= width:
        return name
    tail = (width - 1) // 2
    return name[: width - 1 - tail].rstrip() + "…" + name[-tail:].lstrip()


def plural(number, one, many=None):
    """`number` with its noun: "1 image", "2 images"."""
    return f"{number} {one if number == 1 else many or one + 's'}"
