import pytest

import cin_keras
from cin_keras.data import drawn_cars
from cin_keras.training.data_set import data_set_parser, drawn_samples, settle_data_set

PHOTOGRAPHS = {"backbone": "resnet50", "image_size": 448, "epochs": 10, "pairs_per_batch": 16}
DRAWINGS = {"backbone": "small", "image_size": 64, "epochs": 20, "pairs_per_batch": 8}
PLACES = ["data/cars", "$CARS_DIR"]


def settled(*arguments, drawings=DRAWINGS):
    parser = data_set_parser("cars", "Stanford Cars", PLACES, "1.9 GB", PHOTOGRAPHS, drawings)
    return settle_data_set(parser.parse_args(arguments), PHOTOGRAPHS, drawings)


@pytest.fixture(autouse=True)
def nothing_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CARS_DIR", raising=False)


def test_drawings_stand_in_for_photographs_and_say_so(monkeypatch, capsys):
    args = settled()
    assert (args.data_dir, args.backbone, args.epochs) == (None, "small", 20)
    told = "No Stanford Cars in data/cars nor in $CARS_DIR (not set): training on drawn cars.\n"
    assert capsys.readouterr().out == told
    monkeypatch.setenv("CARS_DIR", "slip")
    settled()
    assert "$CARS_DIR (slip)" in capsys.readouterr().out
    for name in ("RANK", "KERAS_DISTRIBUTION_PROCESS_ID", "SLURM_PROCID"):
        with monkeypatch.context() as second:
            second.setenv(name, "1")
            assert settled().data_dir is None and capsys.readouterr().out == ""
    assert "data_set" not in vars(args), "no setting of the run"


def test_the_first_place_that_is_there_counts(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("CARS_DIR", str(tmp_path / "mine"))
    (tmp_path / "mine").mkdir()
    args = settled()
    assert (args.data_dir, args.backbone, args.epochs) == (str(tmp_path / "mine"), "resnet50", 10)
    (tmp_path / "data" / "cars").mkdir(parents=True)
    assert settled().data_dir == "data/cars"
    assert settled("--data-dir", "typed").data_dir == "typed"
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("arguments", "drawings"), [(["--download"], DRAWINGS), ([], None), (["--download"], None)]
)
def test_a_download_goes_to_the_first_place_and_some_recipes_insist_on_it(arguments, drawings):
    args = settled(*arguments, drawings=drawings)
    assert (args.data_dir, args.backbone, args.output) == ("data/cars", "resnet50", "runs/cars")


def test_drawings_are_larger_than_the_networks_images(monkeypatch):
    asked = []

    def one_of_each_class(split, **options):
        asked.append((split, options))
        return drawn_cars(split, images_per_class=1, **options)

    monkeypatch.setattr(cin_keras.data, "drawn_cars", one_of_each_class)
    assert [part.read(0).size for part in drawn_samples(22)] == [(33, 33)] * 3
    # As many as `drawn_cars` draws by itself, which are counted in its own tests.
    assert asked == [(split, {"image_size": 33}) for split in ("train", "validation", "test")]
