"""The page as headless Chromium shows it: narrow and wide, light and dark."""

import base64
import functools
import html
import http.server
import io
import json
import pathlib
import re
import shutil
import subprocess
import threading

import numpy as np
import pytest
from PIL import Image

from tests.chromium import FLAGS, find_chromium

SCHEMES = {"light": [], "dark": ["--blink-settings=preferredColorScheme=0"]}


@pytest.fixture(scope="module")
def chromium():
    return find_chromium()


@pytest.fixture(scope="module")
def address(report, tmp_path_factory):
    """The folder of the report and of a page that looks at it, on a server of this machine."""
    folder = tmp_path_factory.mktemp("server")
    shutil.copy(report[0], folder / "report.html")
    shutil.copy(pathlib.Path(__file__).with_name("probe.html"), folder)

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *arguments):
            pass

    handler = functools.partial(Handler, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/probe.html"
        server.shutdown()


def look_at(address, scheme, chromium, folder):
    """What the browser finds, for either width, and its picture, in one colour scheme."""
    picture = folder / "picture.png"
    command = [chromium, *FLAGS, "--window-size=1510,10000", *SCHEMES[scheme]]
    command += [f"--user-data-dir={folder / 'user'}"]
    command += [f"--screenshot={picture}", "--dump-dom", address]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert answer.returncode == 0, answer.stderr[-2000:]
    found = re.search(r'<pre id="found">(.*?)</pre>', answer.stdout, re.DOTALL)
    pixels = np.asarray(Image.open(picture).convert("RGB"), float)
    return json.loads(html.unescape(found[1])), pixels


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_page_in_a_browser(scheme, chromium, address, report, tmp_path):
    _, page, _ = report
    looks, pixels = look_at(address, scheme, chromium, tmp_path)
    assert [look["width"] for look in looks] == [400, 1100]
    for look in looks:
        check_all_is_shown(look, page)
        check_nothing_is_wider_than_the_screen(look)
        check_pictures_are_drawn(look, page, pixels)
        check_curves_are_drawn(look, scheme, pixels)
        check_text_can_be_read(look, scheme)


def check_all_is_shown(look, page):
    assert look["title"] == page.inside["title"][0]
    shown = "".join(look["text"].split())
    for name in ("accuracy-value", "accuracy-interval", "command"):
        assert "".join(page.by_id[name].split()) in shown
    assert "<script>alert('x')</script>" in shown
    assert len(look["images"]) == len(page.images)
    assert all(image["loaded"] == 320 for image in look["images"])


def check_nothing_is_wider_than_the_screen(look):
    assert look["scrollWidth"] <= look["width"] and look["height"] <= 10000
    for left, _, width, _ in look["curves"] + [image["place"] for image in look["images"]]:
        assert left >= 0 and width > 100


def cut(pixels, place):
    left, top, width, height = (round(length) for length in place)
    return pixels[top : top + height, left : left + width]


def check_pictures_are_drawn(look, page, pixels):
    for attributes, image in zip(page.images, look["images"]):
        file = io.BytesIO(base64.b64decode(attributes["src"].split(",")[1]))
        drawn = cut(pixels, image["place"])
        expected = Image.open(file).resize(drawn.shape[1::-1], Image.Resampling.BOX)
        # Without the border, whose corners are round.
        difference = np.abs(drawn - np.asarray(expected))[8:-8, 8:-8]
        assert difference.mean() < 6, attributes["alt"]


def check_curves_are_drawn(look, scheme, pixels):
    """In the colours of the scheme: those of the training and of the validation images."""
    colours = {"light": [(0, 114, 178), (192, 79, 0)], "dark": [(86, 180, 233), (245, 141, 76)]}
    confidence, losses, accuracies = (cut(pixels, place) for place in look["curves"])
    for panel, colour in (
        (confidence, colours[scheme][0]),
        (losses, colours[scheme][0]),
        (losses, colours[scheme][1]),
        (accuracies, colours[scheme][1]),
    ):
        assert (np.abs(panel - colour).max(axis=2) < 12).sum() > 50


def check_text_can_be_read(look, scheme):
    """A contrast of 4.5 between text and background, as WCAG 2.1 asks (success criterion 1.4.3)."""

    def luminance(colour):
        shares = np.array(colour[:3]) / 255
        linear = np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4)
        return linear @ (0.2126, 0.7152, 0.0722)

    assert len(look["colours"]) > 100
    for text in look["colours"]:
        low, high = sorted(map(luminance, (text["colour"], text["background"])))
        assert (high + 0.05) / (low + 0.05) >= 4.5, text
        assert (luminance(text["background"]) < 0.2) == (scheme == "dark"), text
