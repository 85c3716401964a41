"""The command, its page as programs see it, and as headless Chromium shows it."""

import importlib.metadata
import os
import pathlib
import signal
import socket
import time

import numpy as np
import pytest
from PIL import Image

import cin_keras
from cin_keras.cli import main
from cin_keras.cli.demo import check_port
from cin_keras.cli.demo.answers import Answers
from tests import processes
from tests.chromium import browser, find_chromium
from tests.cli.conftest import COLOURS, colour_model, write_photograph

REAL = pathlib.Path(__file__).parents[4] / "shared" / "data" / "CUB_200_2011"
SENTENCE = "document.querySelector('#sentence textarea')?.value"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a model, its gallery and a photograph of a drawn car."""
    folder = tmp_path_factory.mktemp("demo")
    colour_model().save(folder / "model.keras")
    for name, colour in COLOURS.items():
        write_photograph(folder / "photos" / name / "1.png", colour)
    command = ["index", folder / "model.keras", folder / "photos"]
    assert main([*map(str, command), "--output", str(folder / "gallery.npz")]) == 0
    cin_keras.data.drawn_cars(images_per_class=1, image_size=96).read(0).save(folder / "car.png")
    (folder / "damaged.jpg").write_bytes(b"\xff\xd8\xff\xe0 and no more")
    return folder


@pytest.fixture(scope="module")
def answers(place):
    return Answers(str(place / "model.keras"), str(place / "gallery.npz"))


@pytest.fixture(scope="module")
def page(answers):
    """The address of the page, served by this process."""
    pytest.importorskip("gradio", reason="Gradio is not installed")
    from cin_keras.cli.demo.page import serve

    before = dict(os.environ)
    with serve(answers, "127.0.0.1", check_port("127.0.0.1", 0)) as address:
        yield address
    assert not os.path.exists(os.environ["GRADIO_TEMP_DIR"]), "uploads are gone"
    os.environ.clear()
    os.environ.update(before)


def test_for_programs(page, place, tmp_path):
    from gradio_client import Client, handle_file

    client = Client(
        page, verbose=False, download_files=str(tmp_path), httpx_kwargs={"timeout": 120}
    )
    red = str(place / "photos" / "rot" / "1.png")
    answer = client.predict(handle_file(red), api_name="/answer")
    sentence, probabilities, picture, decision, legend, similar, files = answer
    assert sentence.startswith("rot, ") and probabilities["label"] == "rot"
    assert {each["label"] for each in probabilities["confidences"]} == set(COLOURS)
    assert legend.startswith("Yellow speaks for rot, blue for ")
    assert Image.open(picture).size == Image.open(decision).size
    pixels = np.asarray(Image.open(similar[0]["image"]).convert("RGB"), float)
    np.testing.assert_allclose(pixels.mean(axis=(0, 1)), COLOURS["rot"], atol=4)
    first = f"1.000 rot: {red}"
    assert similar[0]["caption"] == first and files.splitlines()[0] == first
    assert len(similar) == len(files.splitlines()) == 3

    sentence, probabilities, *_ = client.predict(
        handle_file(str(place / "damaged.jpg")), api_name="/answer"
    )
    assert sentence.startswith("'damaged.jpg' cannot be read: ") and not probabilities
    assert client.predict(handle_file(red), api_name="/answer")[0].startswith("rot, ")


def test_in_a_browser(page, answers, place, tmp_path):
    photographs = [place / "car.png"]
    if REAL.is_dir():
        photographs.append(sorted(REAL.glob("images/*/*.jpg"))[0])
    with browser(find_chromium(), tmp_path) as shown:
        shown.open(page)
        field = "#file input[type=file]"
        for photograph in photographs:
            shown.wait_for(f"document.querySelector({field!r}) !== null")
            shown.wait_for(f"{SENTENCE} === ''")
            expected = answers(str(photograph))
            shown.choose_file(field, photograph)
            assert shown.wait_for(SENTENCE) == expected.sentence
            text = "document.querySelector('#probabilities').innerText"
            for name, probability in expected.probabilities.items():
                shown.wait_for(f"{text}.includes({name!r})")
                assert f"{100 * probability:.0f}%" in shown.value_of(text)
            drawn = "document.querySelector('#decision img')?.naturalWidth"
            assert shown.wait_for(drawn) == expected.decision.shape[1]
            known = "document.querySelectorAll('#similar img').length"
            shown.wait_for(f"{known} == 3")
            paths = shown.value_of("document.querySelector('#files textarea').value")
            assert paths.splitlines() == [str(each) for each in expected.similar]
            shown.call(
                "Runtime.evaluate", expression="document.querySelector('#file button').click()"
            )
            shown.wait_for(f"{SENTENCE} === ''")
        shown.wait_for(f"document.querySelector({field!r}) !== null")
        shown.choose_file(field, place / "damaged.jpg")
        assert shown.wait_for(SENTENCE).startswith("'damaged.jpg' cannot be read: ")
        others = [url for url in shown.asked_for if not url.startswith((page, "data:", "blob:"))]
        assert others == [] and shown.complaints == []


def test_the_command_until_it_is_interrupted(place, tmp_path):
    pytest.importorskip("gradio", reason="Gradio is not installed")
    command = ["-m", "cin_keras", "demo", "model.keras", "--port", "0"]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    process = processes.Started(*command, cwd=place, env=environment)
    try:
        deadline = time.time() + 120
        while "\n" not in "".join(process.printed()[:1]):
            assert process.poll() is None and time.time() < deadline, process.printed()
            time.sleep(0.1)
        line = process.printed()[0]
        assert line.startswith("http://127.0.0.1:") and "Ctrl-C" in line, process.printed()
        port = int(line.split()[0].rsplit(":", 1)[1])
        socket.create_connection(("127.0.0.1", port), timeout=30).close()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()  # or a page that does not end is waited for without end
    assert (process.returncode, out, err.strip()) == (0, line, "Ended.")
    assert [name for name in os.listdir(tmp_path) if name.startswith("cin_keras")] == []


@pytest.mark.parametrize("port", ["taken", "80x", "70000"])
def test_a_port_that_cannot_be_had(port, capsys):
    pytest.importorskip("gradio", reason="Gradio is not installed")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        number = str(taken.getsockname()[1]) if port == "taken" else port
        assert main(["demo", "model.keras", "--port", number]) == 2
    err = capsys.readouterr().err
    assert number in err and "--port" in err and "Traceback" not in err
    if port == "taken":
        assert err.startswith("error: The page cannot be served there (Address already in use)")


@pytest.mark.parametrize(
    ("version", "words"),
    [(None, "which is not installed"), ("5.49.1", "and this is 5.49.1"), ("6.30", "and this is 6.30")],
)
def test_without_a_gradio_that_can(monkeypatch, capsys, version, words):
    def installed(name):
        if version is None:
            raise importlib.metadata.PackageNotFoundError(name)
        return version

    monkeypatch.setattr("importlib.metadata.version", installed)
    assert main(["demo", "model.keras"]) == 2
    err = capsys.readouterr().err
    assert f"needs Gradio 6.31 or later, {words}: pip install 'gradio>=6.31'." in err
    version = "7.0b1"
    assert main(["demo", "gone.keras"]) == 2
    assert "Gradio" not in capsys.readouterr().err


def test_similar_photographs_are_those_of_a_gallery(capsys):
    assert main(["demo", "model.keras", "--similar", "3"]) == 2
    assert "--similar is for --gallery" in capsys.readouterr().err


def test_mistakes_come_before_the_page(place, monkeypatch, capsys):
    pytest.importorskip("gradio", reason="Gradio is not installed")
    monkeypatch.chdir(place)
    other = colour_model(interaction="phi")
    other.save("other.keras")
    assert main(["demo", "other.keras", "--gallery", "gallery.npz", "--port", "0"]) == 2
    assert "was made with another model" in capsys.readouterr().err
    assert main(["demo", "gone.keras", "--port", "0"]) == 2
    assert "gone.keras" in capsys.readouterr().err
    assert main(["demo", "model.keras", "--host", "no.such.host.invalid"]) == 2
    assert "--host no.such.host.invalid" in capsys.readouterr().err
