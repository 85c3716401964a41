import keras
import numpy as np
import pytest
from PIL import Image

from cin_keras.explain import pair_contrast, pair_contrast_figure
from tests.explain.networks import explained_cin, images_of
from tests.one_program import called
from tests.reference import assert_close, contrastive_channel_interaction


def expected_maps(model, image, other):
    """`M_A`, `M_B` and `d` by loops over positions."""
    pair = np.stack([image, other]).astype("float32")
    x = keras.ops.convert_to_numpy(model.backbone(pair)).astype("float64")
    phi, psi = model.interaction.phi, model.contrast.psi
    weights = [phi.kernel, phi.bias, psi.kernel, psi.bias]
    flatten = model.descriptor == "flatten"
    z = contrastive_channel_interaction(
        *x, *(keras.ops.convert_to_numpy(w) for w in weights), model.scale, flatten
    )
    h = keras.ops.convert_to_numpy(model.embedding.kernel)
    shares, embeddings = [], []
    for map in z:
        share = np.zeros((4, 4, 5))
        for row in range(4):
            for column in range(4):
                place = 6 * (4 * row + column)
                own = h[place : place + 6] if flatten else h / 16
                share[row, column] = map[row, column] @ own
        e = share.sum(axis=(0, 1))
        shares.append(share / np.linalg.norm(e))
        embeddings.append(e / np.linalg.norm(e))
    u = embeddings[0] - embeddings[1]
    return 16 * shares[0] @ u, -16 * shares[1] @ u, np.linalg.norm(u)


@pytest.mark.every_backend
@pytest.mark.parametrize("arguments", [{}, {"descriptor": "flatten", "block_rows": 4}])
def test_the_maps_decompose_the_distance(arguments):
    model = explained_cin("sci", "cci", scale=0.05, **arguments)
    images = images_of(6)  # more others than are computed at once
    maps, other_maps, distances = pair_contrast(model, images[0], images[1:])
    assert maps.shape == other_maps.shape == (5, 4, 4) and maps.dtype == np.float32
    sums = maps.mean(axis=(1, 2)) + other_maps.mean(axis=(1, 2))
    assert_close(sums, distances**2)
    for i, other in enumerate(images[1:]):
        map, other_map, distance = expected_maps(model, images[0], other)
        assert_close(maps[i], map, relative=1e-3)
        assert_close(other_maps[i], other_map, relative=1e-3)
        assert_close(distances[i], distance, relative=1e-3)
    # The distance is that of the embeddings that the loss sees.
    embedded = keras.ops.convert_to_numpy(called(model, (images[:1], images[1:2]))["embeddings"])[0]
    assert_close(distances[0], np.linalg.norm(embedded[0] - embedded[1]))


@pytest.mark.every_backend
def test_an_image_and_itself():
    model = explained_cin("pos_sci", "cci", scale=0.05)
    maps, other_maps, distances = pair_contrast(model, images_of(1), images_of(1)[0])
    assert_close(distances, [0], absolute=1e-3)
    assert_close(maps + other_maps, np.zeros((1, 4, 4)), absolute=1e-3)


def test_figure(tmp_path):
    model, images = explained_cin("sci", "cci", scale=0.05), images_of(3)
    names = ["a", "b $x_$ " * 20, "c"]
    path = pair_contrast_figure(model, images[0], images[1:], tmp_path / "pair.png", names)
    assert min(Image.open(path).size) > 400
    with pytest.raises(ValueError, match="2 others.*3 names|each of 2 others. Received: 1 names"):
        pair_contrast_figure(model, images[0], images[1:], path, ["a"])


@pytest.mark.every_backend
@pytest.mark.parametrize("contrast", [None, "embedding"])
def test_models_without_cci(contrast):
    with pytest.raises(ValueError, match=f"contrast='cci'.*contrast={contrast!r}"):
        pair_contrast(explained_cin("sci", contrast), images_of(1), images_of(2))


def test_eight_bits_and_a_model_that_stays_as_it_is():
    model, (image, *others) = explained_cin(contrast="cci"), images_of()
    expected = pair_contrast(model, image, np.stack(others))
    seen = []

    class Watched(type(model.backbone)):
        def __call__(self, *args, **kwargs):
            seen.append(model.contrast.pooling)
            return super().__call__(*args, **kwargs)

    model.quantize("int8")
    model.backbone.__class__ = Watched
    found = pair_contrast(model, image, np.stack(others))
    assert_close(found.distances, expected.distances, relative=0.1)
    assert set(seen) == {"avg"}, "others may use it meanwhile"
