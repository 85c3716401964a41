"""What the READMEs say can be followed: links, commands with their options, names of the package."""

import contextlib
import functools
import io
import pathlib
import re
import shlex

import pytest

import cin_keras
from cin_keras.cli import main
from tests.recipe_runs import run_here

ROOT = pathlib.Path(__file__).parent.parent
PAGES = ["README.md", "recipes/README.md", "assets/README.md", "assets/ablation/README.md"]
BLOCK = re.compile(r"^ *```\w*\n(.*?)^ *```", re.M | re.S)
CODE = re.compile(r"`([^`\n]+)`")

pages = pytest.mark.parametrize("page", PAGES)


def text_of(page):
    return (ROOT / page).read_text("utf-8")


def anchors(path):
    """What GitHub makes of the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", path.read_text("utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", heading).lower().replace(" ", "-") for heading in headings}


@pages
def test_links_lead_somewhere(page):
    text = CODE.sub("", BLOCK.sub("", text_of(page)))
    targets = re.findall(r'\]\(([^)\s]+)|(?:src|href)="([^"]+)', text)
    inside = [one or other for one, other in targets if not (one + other).startswith("http")]
    assert inside
    for target in inside:
        file, _, anchor = target.partition("#")
        path = (ROOT / page).parent / file if file else ROOT / page
        assert path.exists() and (not anchor or anchor in anchors(path)), target


def commands(page):
    """The words that are to be typed: `cin-keras`, or a recipe, and what follows."""
    text = text_of(page)
    lines = "\n".join(BLOCK.findall(text)).replace("\\\n", " ").splitlines()
    for line in [*lines, *CODE.findall(BLOCK.sub("", text))]:
        for command in re.split(r"&&|\|", line.split(" #")[0]):
            if found := re.search(r"^\s*(cin-keras [a-z].*)|(recipes/\w+\.py.*)", command):
                yield shlex.split(found[0])


@functools.cache
def options_of(*command):
    """The options that `--help` of a recipe, or of a command of `cin-keras`, lists."""
    said = io.StringIO()
    if command[0] == "cin-keras":
        with contextlib.redirect_stdout(said):
            assert main([command[1], "--help"]) == 0
        return set(re.findall(r"--[a-z][\w-]*", said.getvalue()))
    return set(re.findall(r"--[a-z][\w-]*", run_here(ROOT / command[0], "--help", folder=ROOT)[1]))


@pages
def test_commands_have_their_options(page):
    for words in commands(page):
        given = {word.partition("=")[0] for word in words if word.startswith("--")}
        known = options_of(*words[: 2 if words[0] == "cin-keras" else 1])
        assert known and given <= known, " ".join(words)


@pages
def test_names_of_the_package_are_there(page):
    for name in set(re.findall(r"\bcin_keras((?:\.[A-Za-z]\w*)+)", text_of(page))):
        found = cin_keras
        for part in [] if name.endswith(".py") else name[1:].split("."):
            with contextlib.suppress(ModuleNotFoundError):
                __import__(f"{found.__name__}.{part}")
            found = getattr(found, part)
