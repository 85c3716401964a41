import json
import os
import re
import signal
import subprocess
import sys

import numpy as np
import pytest

from cin_keras.data import image_folder, write_shards
from cin_keras.data.loaders.folders import list_images
from cin_keras.data.verify import verify_folder
from cin_keras.data.verify.__main__ import main
from tests import processes
from tests.data.small_sets import (
    encode,
    write_annotations,
    write_cub_200_2011,
    write_fgvc_aircraft,
)

NOISE = np.random.default_rng(0).integers(0, 256, (16, 16, 3), "uint8")


@pytest.fixture
def folder(tmp_path):
    """Two classes of good photographs at different depths, and a list."""
    root = tmp_path / "photographs"
    for i, name in enumerate(["cat/1.jpg", "cat/deep/er/2.png", "dog/3.JPG"]):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode(np.roll(NOISE, i), "PNG" if name.endswith("png") else "JPEG"))
    (root / "labels.csv").write_text("1.jpg,cat\n")
    return root


def run(capsys, *arguments):
    status = main([str(argument) for argument in arguments])
    return status, capsys.readouterr().out


def test_a_clean_folder(folder, capsys):
    status, output = run(capsys, folder)
    assert status == 0
    assert output == (
        "3 images checked: 0 problems, 0 notes\n1 other files, not looked at: 'labels.csv'\n"
    )


def spoil(folder):
    (folder / "dog" / "empty.jpg").touch()
    (folder / "dog" / "page.jpeg").write_bytes(b"<html>")
    (folder / "cat" / "link.png").symlink_to("nowhere.png")
    (folder / "cat" / "folder.jpg").mkdir()
    (folder / "cat" / "folder.jpg" / "half.jpg").write_bytes(encode(NOISE, "JPEG")[:300])
    (folder / "cat" / "Größe 猫.jpg").write_bytes(b"text")
    with open(os.path.join(folder, os.fsdecode(b"\xff\xfe.jpg")), "wb") as file:
        file.write(b"text")


SPOILED = {
    "empty.jpg": "the file is empty",
    "page.jpeg": "it is a web page (HTML)",
    "link.png": "it is a broken link, to 'nowhere.png'",
    "folder.jpg": "it is a folder",
    "half.jpg": "it is truncated",
    "Größe 猫.jpg": "it is text",
    os.fsdecode(b"\xff\xfe.jpg"): "it is text",
}


def test_every_problem_is_reported(folder, capsys):
    spoil(folder)
    status, output = run(capsys, folder)
    assert status == 1
    for name, message in SPOILED.items():
        (line,) = (line for line in output.splitlines() if f"{name!r}"[1:-1] + "':" in line)
        assert line.startswith("problem: ") and message in line
    assert "10 images checked: 7 problems, 0 notes" in output


def test_json(folder, capsys):
    spoil(folder)
    (folder / "cat" / "a.gif").write_bytes(encode(np.roll(NOISE, 9), "PNG"))
    status, output = run(capsys, folder, "--json")
    report = json.loads(output)
    assert status == 1
    assert report["images"] == 11 and report["other_files"] == 1
    assert report["folder"] == str(folder)
    found = {os.path.basename(item["path"]): item["message"] for item in report["problems"]}
    assert set(found) == set(SPOILED)
    assert all(message in found[name] for name, message in SPOILED.items())
    assert report["notes"] == [
        {
            "path": str(folder / "cat" / "a.gif"),
            "message": "it is PNG in spite of its name, and is used as such",
        }
    ]


def test_the_command(folder):
    spoil(folder)
    done = processes.run("-m", "cin_keras.data.verify", folder)
    assert done.returncode == 1, done.stderr
    assert "10 images checked: 7 problems" in done.stdout
    assert "10/10" in done.stderr and "RuntimeWarning" not in done.stderr


def test_who_reads_may_go_on_to_something_else(folder):
    """As `| head`."""
    spoil(folder)
    command = [sys.executable, "-m", "cin_keras.data.verify", folder]
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert (done.returncode, "Error" in done.stderr) == (128 + signal.SIGPIPE, False), done.stderr


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["missing"], "There is no folder"),
        (["photographs", "--max-pixels", "0"], "--max-pixels: invalid positive int value: '0'"),
        (["photographs", "--max-pixels", "many"], "invalid positive int value: 'many'"),
        (["empty"], "There is no image in"),
        ([], "the following arguments are required: DIR"),
    ],
)
def test_wrong_arguments(folder, capsys, monkeypatch, arguments, message):
    (folder.parent / "empty").mkdir()
    (folder.parent / "empty" / "notes.txt").touch()
    monkeypatch.chdir(folder.parent)
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


def test_the_limit_of_pixels(folder, capsys):
    status, output = run(capsys, folder, "--max-pixels", 255)
    assert status == 1 and output.count("16×16 pixels are more than --max-pixels 255") == 3


def test_closed_streams(folder, monkeypatch):
    """As after `>&- 2>&-`, which cron may do."""
    with monkeypatch.context() as patch:
        for name in ("stdin", "stdout", "stderr"):
            patch.setattr(sys, name, None)
        statuses = [main([str(folder)]), main([str(folder), "--json"])]
    assert statuses == [0, 0]


# === The listing ===


def test_links_to_folders_are_followed_but_not_in_circles(folder):
    (folder / "dog" / "up").symlink_to(folder)
    elsewhere = folder.parent / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "4.webp").write_bytes(encode(NOISE, "WEBP"))
    (folder / "owl").symlink_to(elsewhere)
    images, others, problems = list_images(folder)
    names = [os.path.relpath(path, folder) for path in images]
    assert names == ["cat/1.jpg", "cat/deep/er/2.png", "dog/3.JPG", "owl/4.webp"]
    assert problems == []


def test_hidden_files_are_left_alone_and_counted(folder):
    (folder / "cat" / "._1.jpg").touch()
    (folder / ".checkpoints").mkdir()
    (folder / ".checkpoints" / "1.jpg").touch()
    images, others, _ = list_images(folder)
    assert len(images) == 3
    assert [os.path.relpath(path, folder) for path in others] == [
        ".checkpoints",
        "cat/._1.jpg",
        "labels.csv",
    ]


def test_a_folder_that_cannot_be_listed_is_a_problem(folder, monkeypatch, capsys):
    scandir = os.scandir

    def refuse(path):
        if os.path.basename(path) == "dog":
            raise PermissionError(13, "Permission denied", os.fspath(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    status, output = run(capsys, folder)
    assert status == 1
    assert "dog': the folder cannot be listed: Permission denied" in output


# === Stanford Cars ===


def test_stanford_cars(stanford_cars_folder, capsys):
    verification, others = verify_folder(stanford_cars_folder, verbose=0)
    assert len(verification.readable) == 10 and verification.problems == ()
    assert len(others) == 4
    messages = [str(note) for note in verification.notes]
    # All training photographs are the same grey, and so are all test photographs.
    assert sum("it has one colour all over" in message for message in messages) == 10
    assert sum("the same image as" in message for message in messages) == 8

    (stanford_cars_folder / "cars_test" / "00002.jpg").write_bytes(b"")
    (stanford_cars_folder / "stray.png").write_bytes(b"text")
    status, output = run(capsys, stanford_cars_folder)
    assert status == 1 and "11 images checked: 2 problems" in output
    assert "00002.jpg': the file is empty" in output and "stray.png': it is text" in output


def test_stanford_cars_with_wrong_lists(stanford_cars_folder, capsys):
    (stanford_cars_folder / "cars_train" / "00003.jpg").unlink()
    boxes = stanford_cars_folder / "cars_test_annos_withlabels.mat"
    write_annotations(boxes, (3, 1, 2, 9))
    status, output = run(capsys, stanford_cars_folder)
    assert status == 1
    assert "its train list is wrong: 1 of the 6 photographs" in output
    assert "its test list is wrong" in output and "gives 00004.jpg the class 9" in output
    assert "9 images checked: 2 problems" in output


@pytest.mark.parametrize("write", [write_cub_200_2011, write_fgvc_aircraft])
def test_other_known_layouts(tmp_path, write, capsys):
    root = tmp_path / "set"
    write(root)
    whole, _ = verify_folder(root, verbose=0)
    assert whole.problems == ()
    photograph = sorted(root.rglob("*.jpg"))[-1]
    photograph.unlink()
    status, output = run(capsys, root)
    assert status == 1 and "list is wrong" in output and photograph.name in output


def test_shards_are_looked_into(folder, tmp_path, capsys):
    samples = image_folder(folder)
    (folder / "dog" / "3.JPG").write_bytes(b"no photograph")
    shards = write_shards({"train": samples, "test": samples.subset([0])}, tmp_path / "shards")
    status, output = run(capsys, shards)
    assert status == 1 and "4 images checked: 1 problem" in output
    assert re.search("problem: .*train-00000-of-00001.tfrecord/dog/3.JPG", output)
