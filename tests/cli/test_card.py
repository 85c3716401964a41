import json
import shutil
import sys
import types

import numpy as np
import pytest
from keras.src.saving import saving_lib

import cin_keras
from cin_keras.cli import main
from tests.cli.conftest import colour_model, write_photograph


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """An imitation of the Hugging Face Hub: a folder with a folder a model."""
    root = tmp_path / "hub"

    class Api:
        def __init__(self, **kwargs):
            pass

        def create_repo(self, repo_id, exist_ok):
            (root / repo_id).mkdir(parents=True, exist_ok=True)
            return types.SimpleNamespace(repo_id=repo_id)

        def upload_folder(self, repo_id, folder_path, commit_message):
            shutil.copytree(folder_path, root / repo_id, dirs_exist_ok=True)

        def upload_file(self, path_or_fileobj, path_in_repo, repo_id):
            shutil.copy(path_or_fileobj, root / repo_id / path_in_repo)

    def snapshot_download(repo_id, **kwargs):
        if not (root / repo_id).is_dir():
            raise OSError("404 Client Error.\n\nRepository Not Found")
        return str(root / repo_id)

    module = types.ModuleType("huggingface_hub")
    module.__spec__ = types.SimpleNamespace()
    module.HfApi, module.snapshot_download = Api, snapshot_download
    monkeypatch.setitem(sys.modules, "huggingface_hub", module)
    monkeypatch.setattr(saving_lib, "huggingface_hub", module)
    return root


@pytest.mark.every_backend
def test_a_model_to_hand_on(hub, tmp_path, capsys):
    model = colour_model(temperature=2.0)
    model.save(tmp_path / "model.keras")
    metrics = {"accuracy": 0.5, "top_5_accuracy": 1.0, "images": 4, "per_class": []}
    (tmp_path / "metrics.json").write_text(json.dumps(metrics))
    command = ["card", str(tmp_path / "model.keras"), "--push", "hf://me/colours"]
    assert main(command) == 0
    assert 'load_model("hf://me/colours")' in capsys.readouterr().out
    text = (tmp_path / "README.md").read_text("utf-8")
    assert "50.0%" in text and (hub / "me" / "colours" / "README.md").read_text("utf-8") == text
    assert main(["card", "hf://me/colours"]) == 2
    assert "hf://me/colours has no folder here" in capsys.readouterr().err
    assert main(["card", "hf://me/colours", "--output", str(tmp_path / "card.md")]) == 0
    assert "# " in (tmp_path / "card.md").read_text("utf-8")
    photograph = write_photograph(tmp_path / "photos" / "a" / "1.png", (9, 200, 70))
    gallery = str(tmp_path / "gallery.npz")
    assert main(["index", "hf://me/colours", str(tmp_path / "photos"), "--output", gallery]) == 0
    assert main(["search", gallery, photograph, "--top", "1"]) == 0
    assert "1.000  a" in capsys.readouterr().out
    loaded = cin_keras.load_model("hf://me/colours")
    assert loaded.temperature == 2 and loaded.class_names == model.class_names
    images = np.random.default_rng(0).uniform(0, 255, (2, 8, 8, 3))
    np.testing.assert_allclose(
        loaded.predict(images, verbose=0), model.predict(images, verbose=0), atol=1e-5
    )


def test_what_comes_from_a_hub_is_checked_like_a_file(hub, monkeypatch):
    with pytest.raises(ConnectionError, match="'hf://me/gone' cannot be had.*: 404 Client Error.$"):
        cin_keras.load_model("hf://me/gone")
    place = hub / "me" / "m"
    place.mkdir(parents=True)
    with pytest.raises(ValueError, match="holds no Keras model"):
        cin_keras.load_model("hf://me/m")
    colour_model().save("hf://me/m")
    config = json.loads((place / "config.json").read_text())
    for changed, words in (
        ({**config, "registered_name": "Custom>Other"}, "neither a CIN nor an NTS"),
        ({**config, "extra": {"class_name": "__lambda__"}}, "holds Python code"),
        ({**config, "config": {**config["config"], "num_classes": 10**9}}, "has no weights"),
    ):
        (place / "config.json").write_text(json.dumps(changed))
        with pytest.raises(ValueError, match=f"'hf://me/m'.*{words}"):
            cin_keras.load_model("hf://me/m")
    (place / "config.json").write_text("{")
    with pytest.raises(ValueError, match="is damaged"):
        cin_keras.load_model("hf://me/m")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ImportError, match=r"pip install huggingface_hub"):
        cin_keras.load_model("hf://me/m")


def test_mistakes(models, tmp_path, capsys):
    shutil.copy(models / "c.keras", tmp_path / "m.keras")
    model = str(tmp_path / "m.keras")
    (tmp_path / "list.json").write_text("[]")
    for arguments, words in (
        (["--metrics", "gone.json"], "There is no file 'gone.json'"),
        (["--metrics", str(tmp_path / "list.json")], "holds no metrics"),
        (["--push", "me/colours"], "--push must be hf://NAMESPACE/NAME"),
    ):
        assert main(["card", model, *arguments]) == 2
        assert words in capsys.readouterr().err
    assert main(["card", model, "--output", str(tmp_path / "card.md")]) == 0
    assert "without metrics" in capsys.readouterr().out
    (tmp_path / "README.md").write_text("mine")
    assert main(["card", model]) == 2
    assert (tmp_path / "README.md").read_text() == "mine"
