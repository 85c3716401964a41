import keras
import numpy as np
import pytest
from PIL import Image

from cin_keras.explain import channel_figure, channel_maps, channel_ranking, ranking_figure
from cin_keras.explain.channel_ranking import tiles
from tests.explain.networks import explained_cin, images_of
from tests.reference import assert_close, interaction_weights, self_channel_interaction


@pytest.fixture(scope="module")
def model():
    return explained_cin("sci", scale=0.05)


@pytest.fixture(scope="module")
def image():
    return images_of(1)[0]


@pytest.fixture(scope="module")
def expected(model, image):
    """`X`, `W` and `Z` by loops."""
    x = keras.ops.convert_to_numpy(model.backbone(image[None].astype("float32")))[0]
    phi = model.interaction.phi
    kernel, bias = (keras.ops.convert_to_numpy(w) for w in (phi.kernel, phi.bias))
    x = x.astype("float64")
    return x, interaction_weights(x, 0.05), self_channel_interaction(x, kernel, bias, 0.05)


@pytest.mark.every_backend
def test_channel_maps(model, image, expected):
    x, w, z = expected
    maps = channel_maps(model, image, channel=2, count=4)
    assert maps.channel == 2
    assert_close(maps.before, x[:, :, 2])
    assert_close(maps.after, z[:, :, 2])
    assert len(set(maps.complementary.tolist())) == 4
    assert_close(maps.weights, np.sort(w[2])[::-1][:4])
    assert_close(maps.weights, w[2, maps.complementary])
    assert_close(maps.complementary_maps, np.moveaxis(x[:, :, maps.complementary], 2, 0))


@pytest.mark.every_backend
def test_the_strongest_channel_is_chosen(model, image, expected):
    strongest = expected[0].mean(axis=(0, 1)).argmax()
    assert channel_maps(model, image).channel == strongest
    assert channel_ranking(model, image[None]).channel == strongest


@pytest.mark.every_backend
def test_channel_ranking(model, image, expected):
    x, w, _ = expected
    ranking = channel_ranking(model, image, channel=3)
    assert sorted(ranking.order.tolist()) == list(range(6))
    assert_close(ranking.weights, np.sort(w[3])[::-1])
    assert_close(ranking.weights, w[3, ranking.order])
    assert ranking.weights.sum() == pytest.approx(1, abs=1e-5)
    assert_close(ranking.maps, np.moveaxis(x[:, :, ranking.order], 2, 0))


@pytest.mark.every_backend
def test_tiles():
    maps = np.arange(5)[:, None, None] * np.ones((1, 2, 3))
    picture = tiles(maps)
    assert picture.shape == (8, 7)  # 3 rows of 2, one gap between any two
    np.testing.assert_array_equal(picture[3:5, 4:7], 3)
    assert np.isnan(picture[2]).all() and np.isnan(picture[:, 3]).all()
    assert np.isnan(picture[6:, 4:]).all()


def test_figures(model, image, tmp_path):
    for draw in (channel_figure, ranking_figure):
        path = draw(model, image, tmp_path / "new" / f"{draw.__name__}.png", channel=1)
        assert min(Image.open(path).size) > 200
    assert Image.open(path).convert("L").getextrema()[0] < 60


@pytest.mark.every_backend
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"channel": 6}, r"0..5.*channel=6"),
        ({"channel": -1}, "at least 0"),
        ({"count": 7}, "at most 6"),
        ({"count": 0}, "at least 1"),
        ({"image": images_of(2)}, "one image.*2 images"),
    ],
)
def test_mistakes(model, image, arguments, words):
    with pytest.raises(ValueError, match=words):
        channel_maps(model, **{"image": image, **arguments})


@pytest.mark.every_backend
def test_models_without_interaction_weights(image):
    with pytest.raises(ValueError, match="'sci' or 'pos_sci'.*interaction=None"):
        channel_maps(explained_cin(None), image)
    with pytest.raises(ValueError, match="channel_ranking.*interaction='phi'"):
        channel_ranking(explained_cin("phi"), image)
