"""Small drawings of cars whose classes differ in small parts only: data without a download."""

import colorsys
import io
import math
import types
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from cin_keras.checks import check_choice, check_int
from cin_keras.data.samples import Samples


class _Car(NamedTuple):
    wheels: str
    lamp: str
    grille: str
    roof: str
    spoiler: str


# Every class differs from the one before it in exactly one part.
_CARS = (
    _Car("five-spoke", "round", "upright", "notchback", "no"),
    _Car("five-spoke", "slit", "upright", "notchback", "no"),
    _Car("disc", "slit", "upright", "notchback", "no"),
    _Car("disc", "slit", "upright", "notchback", "wing"),
    _Car("disc", "slit", "level", "notchback", "wing"),
    _Car("disc", "slit", "level", "fastback", "wing"),
    _Car("disc", "round", "level", "fastback", "wing"),
    _Car("ring", "round", "level", "fastback", "wing"),
    _Car("ring", "round", "level", "fastback", "no"),
    _Car("ring", "round", "open", "fastback", "no"),
    _Car("ring", "round", "open", "estate", "no"),
    _Car("ring", "twin", "open", "estate", "no"),
    _Car("three-spoke", "twin", "open", "estate", "no"),
    _Car("three-spoke", "twin", "open", "estate", "ducktail"),
    _Car("three-spoke", "twin", "upright", "estate", "ducktail"),
    _Car("three-spoke", "twin", "upright", "bubble", "ducktail"),
    _Car("three-spoke", "tall", "upright", "bubble", "ducktail"),
    _Car("five-spoke", "tall", "upright", "bubble", "ducktail"),
    _Car("five-spoke", "tall", "upright", "bubble", "no"),
    _Car("five-spoke", "tall", "level", "bubble", "no"),
    _Car("five-spoke", "tall", "level", "notchback", "no"),
    _Car("five-spoke", "slit", "level", "notchback", "no"),
    _Car("disc", "slit", "level", "notchback", "no"),
    _Car("disc", "slit", "level", "notchback", "ducktail"),
)

_IMAGES_PER_CLASS = {"train": 120, "validation": 20, "test": 40}
_SUPERSAMPLING = 3

# Lengths below are in car units: the car is 100 long and 50 high, faces right, and y points down.
_LENGTH, _HEIGHT = 100, 50
_REAR_WHEEL, _FRONT_WHEEL, _WHEEL_RADIUS = (22.5, 38.5), (73.5, 38.5), 11.5
_PLACES = {
    "front wheel": (62, 27, 85, 50),
    "rear wheel": (11, 27, 34, 50),
    "lamp": (86, 22, 97, 31),
    "grille": (87, 32, 99, 41.5),
    "roof": (14, 3, 71, 20),
    "spoiler": (0, 9, 14, 21),
}
_ROOFS = {
    "notchback": ((71, 21), (58, 3.5), (36, 3.5), (22, 21)),
    "fastback": ((71, 21), (58, 3.5), (48, 3.5), (14, 19), (14, 21)),
    "estate": ((71, 21), (58, 3.5), (19, 3.5), (15, 21)),
    "bubble": ((71, 21), (69, 11), (60, 3.5), (29, 3.5), (20, 11), (18, 21)),
}
_SPOILERS = {
    "no": np.empty((0, 2)),
    "wing": ((0.5, 9.5), (13.5, 11), (13.5, 13.5), (0.5, 13)),
    "ducktail": ((0.5, 12), (3.5, 12.5), (13.5, 20.5), (1, 20.5)),
}
_BODY = (
    (0.5, 42), (0.5, 22), (3, 19.5), (16, 19), (70, 19), (93, 19.5), (99, 22), (99.5, 42),
    (97, 43.5), (3, 43.5),
)  # fmt: skip


def drawn_cars(split="train", num_classes=12, images_per_class=None, image_size=96, seed=0):
    """Side views of cars, drawn on the spot, whose classes differ in small parts only.

    A class is a fixed choice of wheels, lamp, grille, roof line and spoiler. Colour, background,
    size, position, tilt, direction and light vary freely and alike in every class, so only the
    parts tell. Nothing is read from or written to disk, and the same arguments give the same
    drawings. More images or more classes leave the drawings already there as they are, and no
    two splits share a drawing.

    Args:
        split: `"train"`, `"validation"` or `"test"`. Defaults to `"train"`.
        num_classes: Int from 2 to 24. Defaults to 12.
        images_per_class: Int, at least 1, or `None` for 120 (train), 20 (validation) or 40
            (test). Defaults to `None`.
        image_size: Int, at least 32: width and height of a drawing in pixels. Defaults to 96.
        seed: Int, at least 0. Defaults to 0.

    Returns:
        `Samples`, class by class. `encoded` holds PNG files, `paths` are names such as
        `"drawn/train/03/0007.png"` (folder 03 is label 3), `boxes` are the cars' boxes, and
        `parts` has the boxes of `"front wheel"`, `"rear wheel"`, `"lamp"`, `"grille"`, `"roof"`
        and `"spoiler"`; a car without a spoiler has the box of the place where it would be.
        Boxes are in whole pixels: left, top, right, bottom.

    Raises:
        ValueError: If an argument is not one of those above.

    Example:

    >>> samples = drawn_cars(num_classes=3, images_per_class=2)
    >>> samples
    Samples(3 classes, 6 images, 2–2 a class)
    >>> samples.class_names[0]
    'car 01: five-spoke wheels, round lamp, upright grille, notchback roof, no spoiler'
    >>> samples.read(0).size
    (96, 96)
    """
    check_choice("split", split, _IMAGES_PER_CLASS)
    if images_per_class is None:
        images_per_class = _IMAGES_PER_CLASS[split]
    check_int("num_classes", num_classes, 2, len(_CARS))
    check_int("images_per_class", images_per_class, 1)
    check_int("image_size", image_size, 32)
    check_int("seed", seed, 0)

    places = [(label, i) for label in range(num_classes) for i in range(images_per_class)]
    drawings = [_drawing(seed, split, label, i, image_size) for label, i in places]
    encoded, boxes, parts = zip(*drawings)
    paths = [f"drawn/{split}/{label:02d}/{i:04d}.png" for label, i in places]
    names = [_class_name(label) for label in range(num_classes)]
    labels = [label for label, _ in places]
    return Samples(paths, labels, names, boxes=list(boxes), encoded=encoded, parts=parts)


def _drawing(seed, split, label, index, image_size):
    """A PNG file, the car's box and those of its parts."""
    scene = _random_scene(_stream(seed, split, label, index))
    image, box, parts = _draw(scene, _CARS[label], image_size)
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=1)
    return file.getvalue(), box, parts


def class_parts(label):
    """The parts that make a class of `drawn_cars`.

    Args:
        label: Int from 0 to 23, the class.

    Returns:
        Dict part name → kind (str). The names are those of the boxes in `Samples.parts`.

    Raises:
        ValueError: If there is no such class.

    Example:

    >>> class_parts(3)["lamp"]
    'slit'
    """
    check_int("label", label, 0, len(_CARS) - 1)
    car = _CARS[label]._asdict()
    wheels = car.pop("wheels")
    return {"front wheel": wheels, "rear wheel": wheels, **car}


def differing_parts(class_a, class_b):
    """The parts in which two classes of `drawn_cars` differ, to score explanations by.

    Args:
        class_a: Int from 0 to 23, a class.
        class_b: Int from 0 to 23, a class.

    Returns:
        Tuple of part names (str), empty for a class and itself. The names are those of the
        boxes in `Samples.parts`.

    Raises:
        ValueError: If there is no such class.

    Example:

    >>> differing_parts(0, 2)
    ('front wheel', 'rear wheel', 'lamp')
    """
    parts_a, parts_b = class_parts(class_a), class_parts(class_b)
    return tuple(name for name in parts_a if parts_a[name] != parts_b[name])


def _class_name(label):
    kinds = ", ".join(f"{kind} {part}" for part, kind in _CARS[label]._asdict().items())
    return f"car {label + 1:02d}: {kinds}"


def _stream(seed, split, label, index):
    return np.random.default_rng([seed, list(_IMAGES_PER_CLASS).index(split), label, index])


def _random_scene(rng):
    """All that varies within a class. Lengths are shares of the image's side."""
    paint = _colour(rng.random(), rng.uniform(0.1, 0.95), rng.uniform(0.35, 0.98))
    sky_hue = rng.uniform(0.5, 0.68) if rng.random() < 0.75 else rng.uniform(0, 0.12)
    ground_hue = rng.uniform(0.05, 0.4)
    ground_saturation, ground_value = rng.uniform(0.05, 0.4), rng.uniform(0.4, 0.7)
    unit = rng.uniform(0.80, 0.93) / _LENGTH
    tilt = math.radians(rng.uniform(-4, 4))
    half_width = 0.5 * unit * (_LENGTH + _HEIGHT * abs(math.sin(tilt))) + 0.012
    half_height = 0.5 * unit * (_HEIGHT + _LENGTH * abs(math.sin(tilt))) + 0.012
    centre = (
        rng.uniform(half_width, 1 - half_width),
        rng.uniform(max(0.38, half_height), 1 - half_height),
    )
    horizon = centre[1] + rng.uniform(-0.12, 0.16)
    return types.SimpleNamespace(
        paint=paint,
        trim=_shade(paint, rng.uniform(0.3, 0.6)),
        glass=_colour(rng.uniform(0.5, 0.65), rng.uniform(0.1, 0.4), rng.uniform(0.25, 0.5)),
        metal=(int(rng.uniform(185, 235)),) * 3,
        sky=(
            _colour(sky_hue, rng.uniform(0.3, 0.6), rng.uniform(0.6, 0.95)),
            _colour(sky_hue + rng.uniform(-0.08, 0.08), rng.uniform(0.05, 0.25), 0.97),
        ),
        ground=(
            _colour(ground_hue, ground_saturation, ground_value),
            _colour(ground_hue, ground_saturation, ground_value * rng.uniform(0.55, 0.9)),
        ),
        clutter=tuple(_random_clutter(rng, horizon)),
        facing=1 if rng.random() < 0.5 else -1,
        unit=unit,
        tilt=tilt,
        centre=centre,
        horizon=horizon,
        wheel_turns=tuple(rng.uniform(0, 2 * math.pi, 2)),
        contrast=rng.uniform(0.8, 1.15),
        brightness=rng.uniform(0.8, 1.15),
        gradient=tuple(rng.uniform(-0.18, 0.18, 2)),
        noise=rng.uniform(1, 4),
        noise_seed=int(rng.integers(2**32)),
    )


def _random_clutter(rng, horizon):
    """Clouds, hills, houses, trees, road marks: (shape, left, top, right, bottom, colour)."""
    for _ in range(rng.integers(1, 4)):
        x, y, width = rng.uniform(-0.1, 1), rng.uniform(0, 0.8 * horizon), rng.uniform(0.1, 0.2)
        for step in (0, 0.4, 0.8):
            bulge = rng.uniform(0.25, 0.45) * width
            left = x + step * width
            yield "ellipse", left, y - bulge, left + width, y + bulge, (244, 246, 250)
    tint = rng.uniform(0.2, 0.6)
    for _ in range(rng.integers(1, 3)):
        x, width, height = rng.uniform(-0.2, 0.8), rng.uniform(0.4, 0.9), rng.uniform(0.06, 0.2)
        colour = _colour(tint, 0.25, rng.uniform(0.55, 0.75))
        yield "ellipse", x, horizon - height, x + width, horizon + height, colour
    for _ in range(rng.integers(1, 5)):
        x, width, height = rng.uniform(-0.05, 1), rng.uniform(0.06, 0.16), rng.uniform(0.1, 0.34)
        if rng.random() < 0.5:
            colour = _colour(rng.uniform(0, 0.15), rng.uniform(0.1, 0.5), rng.uniform(0.5, 0.85))
            yield "rectangle", x, horizon - height, x + width, horizon, colour
            for floor in np.arange(horizon - height + 0.02, horizon - 0.03, 0.055):
                window = (x + 0.25 * width, floor, x + 0.75 * width, floor + 0.025)
                yield "rectangle", *window, _shade(colour, 0.6)
        else:
            trunk = (x + 0.4 * width, horizon - 0.6 * height, x + 0.6 * width, horizon + 0.01)
            leaves = (x, horizon - height, x + width, horizon - 0.3 * height)
            yield "rectangle", *trunk, (96, 72, 52)
            hue, value = rng.uniform(0.2, 0.4), rng.uniform(0.35, 0.6)
            yield "ellipse", *leaves, _colour(hue, 0.45, value)
    yield "rectangle", -0.1, horizon, 1.1, horizon + 0.012, (120, 116, 110)
    mark = _shade((240, 238, 228), rng.uniform(0.7, 1))
    y, start = rng.uniform(horizon + 0.15, 1.1), rng.uniform(-0.2, 0)
    for x in np.arange(start, 1, rng.uniform(0.22, 0.4)):
        yield "rectangle", x, y, x + 0.13, y + 0.018, mark


class _Pen:
    """Draws on an image in car units."""

    def __init__(self, image, scene):
        self._draw = ImageDraw.Draw(image)
        self.unit = scene.unit * image.width
        cosine, sine = math.cos(scene.tilt) * self.unit, math.sin(scene.tilt) * self.unit
        self._matrix = np.array([[scene.facing * cosine, scene.facing * sine], [-sine, cosine]])
        middle = np.array([_LENGTH / 2, _HEIGHT / 2])
        self._offset = np.array(scene.centre) * image.width - middle @ self._matrix

    def place(self, points):
        """Car units → pixels, shape (points, 2)."""
        return np.asarray(points, float) @ self._matrix + self._offset

    def polygon(self, points, colour):
        self._draw.polygon(self.place(points).ravel().tolist(), fill=colour)

    def rectangle(self, left, top, right, bottom, colour):
        self.polygon(((left, top), (right, top), (right, bottom), (left, bottom)), colour)

    def line(self, points, width, colour):
        pixels = max(round(width * self.unit), 1)
        self._draw.line(self.place(points).ravel().tolist(), fill=colour, width=pixels)

    def circle(self, centre, radius, colour):
        (x, y), radius = self.place([centre])[0], radius * self.unit
        self._draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)


def _draw(scene, car, image_size):
    """One car in one scene: the image, the car's box and the boxes of its parts."""
    canvas = _draw_background(scene, image_size * _SUPERSAMPLING)
    pen = _Pen(canvas, scene)
    _draw_roof(pen, scene, car.roof)
    _draw_body(pen, scene)
    _draw_spoiler(pen, scene, car.spoiler)
    _draw_lamp(pen, car.lamp)
    _draw_grille(pen, scene, car.grille)
    for centre, turn in zip((_REAR_WHEEL, _FRONT_WHEEL), scene.wheel_turns, strict=True):
        _draw_wheel(pen, scene, car.wheels, centre, turn)
    image = canvas.resize((image_size, image_size), Image.Resampling.LANCZOS)
    outline = np.concatenate(
        [_OUTLINES["body"], _OUTLINES[car.roof], _SPOILERS[car.spoiler], *_WHEEL_OUTLINES.values()]
    )
    parts = {}
    for name, (left, top, right, bottom) in _PLACES.items():
        corners = ((left, top), (right, top), (right, bottom), (left, bottom))
        parts[name] = _box(pen.place(_WHEEL_OUTLINES.get(name, corners)), image_size)
    return _light(image, scene), _box(pen.place(outline), image_size), parts


def _box(points, image_size):
    low = np.floor(points.min(0) / _SUPERSAMPLING).clip(0, image_size)
    high = np.ceil(points.max(0) / _SUPERSAMPLING).clip(0, image_size)
    return tuple(int(value) for value in (*low, *high))


def _draw_background(scene, size):
    horizon = scene.horizon * size
    rows = np.arange(size)[:, None]
    in_sky = (rows / horizon).clip(0, 1)
    in_ground = ((rows - horizon) / (size - horizon)).clip(0, 1)
    sky, ground = np.array(scene.sky, float), np.array(scene.ground, float)
    column = np.where(
        rows < horizon,
        sky[0] + in_sky * (sky[1] - sky[0]),
        ground[0] + in_ground * (ground[1] - ground[0]),
    )
    image = Image.fromarray(np.repeat(column.astype("uint8")[:, None], size, axis=1))
    draw = ImageDraw.Draw(image)
    ground_line = round(horizon)
    for shape, left, top, right, bottom, colour in scene.clutter:
        box = [value * size for value in (left, top, right, bottom)]
        if shape == "rectangle":
            draw.rectangle(box, fill=colour)
        elif bottom > scene.horizon > top:
            # A hill: the upper half of an ellipse.
            draw.pieslice([box[0], box[1], box[2], 2 * ground_line - box[1]], 180, 360, fill=colour)
        else:
            draw.ellipse(box, fill=colour)
    return image


def _draw_roof(pen, scene, roof):
    pen.polygon(_OUTLINES[roof], _shade(scene.paint, 0.55))
    pen.polygon(_inset(_OUTLINES[roof], 0.975, 0.94), scene.paint)
    window = _inset(_OUTLINES[roof], 0.86, 0.76)
    pen.polygon(window, scene.glass)
    left, right = window[:, 0].min(), window[:, 0].max()
    pen.rectangle(left, 17, right, 20, _shade(scene.glass, 0.7))
    pen.polygon(((56, 9), (58, 10), (52, 18), (49, 18)), _tint(scene.glass, 0.45))
    pen.rectangle(43, window[:, 1].min() - 0.5, 45.5, 20, scene.paint)


def _draw_body(pen, scene):
    dark = _shade(scene.paint, 0.55)
    # The shadow on the road.
    pen.polygon(_OUTLINES["shadow"], _shade(scene.ground[1], 0.5))
    pen.polygon(_OUTLINES["body"], dark)
    pen.polygon(_OUTLINES["panel"], scene.paint)
    pen.polygon(((2, 22), (86, 22), (86, 23.4), (2, 23.4)), _tint(scene.paint, 0.5))
    pen.polygon(((1, 36), (99, 36), (99, 42), (2, 42)), _shade(scene.paint, 0.78))
    pen.rectangle(2, 41.5, 98, 43.3, (50, 50, 54))
    pen.line(((58, 21), (60, 40), (39, 40), (37, 21)), 0.9, dark)
    pen.rectangle(40, 26, 45, 27.6, dark)
    pen.rectangle(1.3, 24, 5, 30, (190, 40, 40))
    for centre in (_REAR_WHEEL, _FRONT_WHEEL):
        pen.polygon(_ring(centre, 13, math.radians(158), math.radians(382)), (28, 28, 32))


def _draw_spoiler(pen, scene, spoiler):
    if spoiler == "no":
        return
    if spoiler == "wing":
        pen.rectangle(3, 12, 5, 20.5, _shade(scene.trim, 0.7))
        pen.rectangle(9, 12, 11, 20.5, _shade(scene.trim, 0.7))
    pen.polygon(_SPOILERS[spoiler], scene.trim)


def _draw_lamp(pen, lamp):
    rim, light = (38, 38, 42), (255, 248, 214)
    if lamp == "round":
        pen.circle((91.5, 26.5), 4.5, rim)
        pen.circle((91.5, 26.5), 3.5, light)
    elif lamp == "slit":
        pen.rectangle(86, 24, 97, 28.6, rim)
        pen.rectangle(86.8, 24.9, 96.2, 27.7, light)
    elif lamp == "tall":
        pen.rectangle(91, 22, 96.5, 31, rim)
        pen.rectangle(91.9, 22.9, 95.6, 30.1, light)
    elif lamp == "twin":
        for centre in ((88.8, 26.5), (94.3, 26.5)):
            pen.circle(centre, 2.7, rim)
            pen.circle(centre, 2.0, light)


def _draw_grille(pen, scene, grille):
    pen.rectangle(87, 32, 99, 41.5, (26, 26, 30))
    if grille == "upright":
        for left in (88.6, 92, 95.4):
            pen.rectangle(left, 33, left + 1.9, 40.5, scene.metal)
    elif grille == "level":
        for top in (33.5, 37.5):
            pen.rectangle(88, top, 98, top + 2.2, scene.metal)


def _draw_wheel(pen, scene, wheels, centre, turn):
    dark = (30, 30, 34)
    pen.circle(centre, _WHEEL_RADIUS, (20, 20, 22))
    pen.circle(centre, 8.4, scene.metal)
    if wheels == "disc":
        pen.circle(centre, 2.2, dark)
        return
    pen.circle(centre, 6.9, dark)
    pen.circle(centre, 2.4, scene.metal)
    spokes = {"five-spoke": 5, "three-spoke": 3, "ring": 0}[wheels]
    for angle in turn + np.arange(spokes) * 2 * math.pi / max(spokes, 1):
        tip = (centre[0] + 7.4 * math.cos(angle), centre[1] + 7.4 * math.sin(angle))
        pen.line((centre, tip), 2.2, scene.metal)


def _light(image, scene):
    """Contrast, brightness, a gradient of light over the image, and noise."""
    size = image.width
    ramp = np.linspace(-1, 1, size, dtype="float32")
    across, down = np.float32(scene.gradient[0]), np.float32(scene.gradient[1])
    factor = np.float32(scene.brightness) * (1 + across * ramp + down * ramp[:, None])
    rng = np.random.default_rng(scene.noise_seed)
    noise = rng.standard_normal((size, size), "float32") * np.float32(scene.noise)
    pixels = np.asarray(image, "float32")
    pixels = (pixels - 128) * np.float32(scene.contrast) + 128
    pixels = pixels * factor[..., None] + noise[..., None]
    return Image.fromarray(pixels.clip(0, 255).astype("uint8"))


def _colour(hue, saturation, value):
    return tuple(int(255 * c) for c in colorsys.hsv_to_rgb(hue % 1, saturation, value))


def _shade(colour, factor):
    return tuple(int(factor * c) for c in colour)


def _tint(colour, share):
    return tuple(int(c + share * (255 - c)) for c in colour)


def _rounded(corners):
    """Cuts the corners of a closed polygon, three times over."""
    points = np.array(corners, float)
    for _ in range(3):
        following = np.roll(points, -1, axis=0)
        step = 0.12 * (following - points)
        points = np.stack([points + step, following - step], axis=1).reshape(-1, 2)
    return points


def _inset(outline, share_across, share_up):
    """The outline of a roof drawn in towards the middle of its foot."""
    middle = np.array([(outline[:, 0].min() + outline[:, 0].max()) / 2, 20])
    return middle + (outline - middle) * (share_across, share_up)


def _ring(centre, radius, start=0.0, stop=2 * math.pi):
    """Points on a circle, or on an arc of it."""
    angles = np.linspace(start, stop, 33)
    return np.stack(
        [centre[0] + radius * np.cos(angles), centre[1] + radius * np.sin(angles)], axis=1
    )


_OUTLINES = {name: _rounded(corners) for name, corners in _ROOFS.items()}
_OUTLINES["body"] = _rounded(_BODY)
_OUTLINES["panel"] = (_OUTLINES["body"] - (50, 31)) * (0.985, 0.94) + (50, 31)
_OUTLINES["shadow"] = _ring((0, 0), 1) * (50, 2.5) + (50, 48)
_WHEEL_OUTLINES = {
    "front wheel": _ring(_FRONT_WHEEL, _WHEEL_RADIUS),
    "rear wheel": _ring(_REAR_WHEEL, _WHEEL_RADIUS),
}
