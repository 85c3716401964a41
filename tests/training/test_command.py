import pytest

from cin_keras.distribution import Devices
from cin_keras.training.command import as_typed


def test_a_batch_that_devices_cannot_share_names_the_option():
    with pytest.raises(ValueError) as error:
        Devices(["a", "b"]).local_batch(3)
    assert as_typed(str(error.value), {"pairs_per_batch": 3}) == (
        "--pairs-per-batch must divide by the number of devices, 2 (a, b). Received: 3"
    )
