import pytest

from cin_keras.distribution import Devices
from cin_keras.training.command import as_typed


def test_a_batch_that_devices_cannot_share_names_the_option():
    with pytest.raises(ValueError) as error:
        Devices(["a", "b"]).local_batch(3)
    assert as_typed(str(error.value), {"pairs_per_batch": 3}) == (
        "--pairs-per-batch must divide by the number of devices, 2 (a, b). Received: 3"
    )


def test_what_is_no_number_is_typed_in_its_own_way():
    settings = {"weights": "imagenet", "download": False}
    assert as_typed("or pass weights=None", settings) == "or pass --weights none"
    told = "To get the data set: cin_keras.data.download"
    assert as_typed(told, settings) == "To get the data set: --download"
    assert as_typed(told, {"weights": "imagenet"}) == told
