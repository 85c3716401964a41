import shlex

import keras
import pytest

from cin_keras.training import recipe_parser, settle
from cin_keras.training.command import command_line

SETTINGS = {"backbone": "resnet50", "image_size": 448, "epochs": 10, "pairs_per_batch": 16}
DRAWINGS = {"backbone": "small", "image_size": 64, "epochs": 20, "pairs_per_batch": 8}


def parse(*arguments, settings=SETTINGS):
    parser = recipe_parser("python x.py", "birds", SETTINGS, "a folder", "runs/x", DRAWINGS)
    return settle(parser.parse_args(arguments), settings)


def test_settings_fill_in_what_is_left_open():
    args = parse()
    assert (args.backbone, args.image_size, args.epochs) == ("resnet50", 448, 10)
    assert args.weights == "imagenet" and args.learning_rate == 0.02 and args.output == "runs/x"
    args = parse("--epochs", "3", settings=DRAWINGS)
    assert (args.backbone, args.epochs, args.pairs_per_batch) == ("small", 3, 8)
    assert args.weights == "none" and args.learning_rate == 0.002


def test_what_the_command_line_says_counts():
    args = parse("--backbone", "small", "--learning-rate", "0.5", "--weights", "none")
    assert (args.backbone, args.learning_rate, args.image_size) == ("small", 0.5, 448)
    assert args.on_error == "raise" and parse("--on-error", "skip").on_error == "skip"


def test_the_strong_recipe_is_the_default_and_the_papers_an_option():
    args = parse()
    assert (args.recipe, args.weight_decay, args.label_smoothing) == ("strong", 0.005, 0.1)
    assert args.classes_per_batch is None and not (args.ema or args.mixup or args.cutmix)
    args = parse("--recipe", "paper")
    assert (args.learning_rate, args.weight_decay, args.label_smoothing) == (0.01, 0.002, 0)
    assert (args.epochs, args.pairs_per_batch, args.classes_per_batch) == (100, 10, 4)
    assert parse("--recipe", "paper", "--pairs-per-batch", "10").classes_per_batch == 4
    args = parse(
        "--recipe", "paper", "--epochs", "3", "--weight-decay", "0", "--pairs-per-batch", "6"
    )
    assert (args.epochs, args.weight_decay, args.pairs_per_batch) == (3, 0, 6)
    assert args.classes_per_batch is None, "the batch is no longer the paper's"
    args = parse("--backbone", "small")
    assert (args.learning_rate, args.weight_decay, args.label_smoothing) == (0.002, 0.004, 0.1)


@pytest.mark.parametrize("option", ["--weight-decay", "--label-smoothing"])
@pytest.mark.parametrize("value", ["1", "-0.1", "nan", "much"])
def test_shares_are_less_than_one(option, value, capsys):
    with pytest.raises(SystemExit):
        parse(option, value)
    message = f"{option}: must be a number from 0 to less than 1: '{value}'"
    assert message in capsys.readouterr().err


def test_mixup_and_cutmix_exclude_each_other(capsys):
    with pytest.raises(SystemExit):
        parse("--mixup", "--cutmix")
    assert "--cutmix: not allowed with argument --mixup" in capsys.readouterr().err


def test_plain_is_a_head():
    assert (parse().head, parse().plain) == ("contrast", False)
    assert parse("--recipe", "paper").head == "cin"
    rates = [
        parse(*given).learning_rate
        for given in ([], ["--head", "covariance"], ["--head", "cin"], ["--learning-rate", "0.3"])
    ]
    assert rates == [0.02, 0.01, 0.02, 0.3]
    small = [parse("--backbone", "small", *given) for given in ([], ["--head", "covariance"])]
    assert [args.head for args in small] == ["cin", "covariance"]
    assert small[0].learning_rate == small[1].learning_rate
    for given in (["--plain"], ["--head", "plain"], ["--plain", "--head", "plain"]):
        assert (parse(*given).head, parse(*given).plain) == ("plain", True)
    assert not parse("--head", "covariance").plain
    assert parse("--head", "plain", "--recipe", "paper").classes_per_batch is None
    with pytest.raises(SystemExit, match="--classes-per-batch is for pairs"):
        parse("--plain", "--classes-per-batch", "4")
    with pytest.raises(SystemExit, match="leave one of the two out. Received: --head sci"):
        parse("--plain", "--head", "sci")


def test_options_that_nothing_would_use_are_refused():
    assert parse().alpha == 2.0
    for head in ("contrast", "cin"):
        assert parse("--head", head, "--alpha", "0.5").alpha == 0.5
    for head in ("sci", "covariance", "plain"):
        with pytest.raises(SystemExit, match=f"Received: --alpha 0.5 with the head {head}"):
            parse("--alpha", "0.5", "--head", head)
    for mixing in ("--mixup", "--cutmix"):
        with pytest.raises(SystemExit, match=f"{mixing} mixes the pairs .* --pairs-per-batch 2 or"):
            parse(mixing, "--pairs-per-batch", "1")
        parse(mixing, "--pairs-per-batch", "1", "--plain")
        parse(mixing, "--pairs-per-batch", "2")


def test_there_are_no_pretrained_weights_for_small():
    with pytest.raises(SystemExit, match="no ImageNet weights for --backbone small"):
        parse("--backbone", "small", "--weights", "imagenet")


@pytest.mark.parametrize("value", ["0", "-1", "1.5", "many"])
def test_numbers_must_be_positive(value, capsys):
    with pytest.raises(SystemExit):
        parse("--epochs", value)
    assert f"invalid positive int value: '{value}'" in capsys.readouterr().err


@pytest.mark.parametrize("head", ["cin", "covariance"])
@pytest.mark.parametrize("recipe", ["python x.py", "python x.py FOLDER"])
def test_the_command_repeats_every_setting(recipe, head):
    parser = recipe_parser(recipe, "birds", SETTINGS, output="runs/x")
    parser.add_argument("data_dir" if "FOLDER" in recipe else "--data-dir")
    parser.add_argument("--download", action="store_true")
    data = ["it's mine"] if "FOLDER" in recipe else ["--data-dir", "it's mine"]
    given = [*data, "--seed", "0", "--head", head, "--resume", "--download"]
    given += ["--alpha", "0"] if head == "cin" else []
    given += ["--recipe", "paper", "--cutmix", "--ema", "--tensorboard", "--label-smoothing", "0.2"]
    args = settle(parser.parse_args(given), SETTINGS)
    backend, python, script, *words = shlex.split(command_line(vars(args)))
    assert (backend, python) == (f"KERAS_BACKEND={keras.backend.backend()}", "python")
    again = vars(settle(parser.parse_args(words), SETTINGS))
    assert again == {**vars(args), "resume": False, "download": False}
    assert {"--epochs", "--learning-rate", "--weights"} <= set(words)
