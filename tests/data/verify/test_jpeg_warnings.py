import os
import sys

import numpy as np
import pytest

from cin_keras.data.verify.jpeg_warnings import jpeg_warnings
from tests.data.small_sets import encode

NOISE = np.random.default_rng(0).integers(0, 256, (64, 64, 3), "uint8")
WHOLE = encode(NOISE, "JPEG")
HALF = WHOLE[: len(WHOLE) // 2] + b"\xff\xd9"
PADDED = WHOLE[:-2] + b"\1\2\3" + WHOLE[-2:]


def test_every_warning_goes_to_its_image():
    warnings = jpeg_warnings([WHOLE, HALF, WHOLE, PADDED, b"no JPEG"])
    assert warnings[1] == "premature end of data segment"
    assert "extraneous bytes before marker 0xd9" in warnings[3]
    assert warnings[0] is warnings[2] is warnings[4] is None
    assert jpeg_warnings([WHOLE, WHOLE]) == [None, None]
    assert jpeg_warnings([]) == []


@pytest.mark.parametrize("content", [WHOLE, HALF])
def test_what_others_write_to_standard_error_meanwhile_is_kept(capfd, content):
    def run(function, contents):
        os.write(2, b"from C\n")
        print("from Python", file=sys.stderr)
        return map(function, contents)

    jpeg_warnings([content], run)
    print("afterwards", file=sys.stderr)
    text = capfd.readouterr().err
    for line in ("from C", "from Python", "afterwards"):
        assert text.count(line) == 1
    assert "JPEG" not in text


def test_standard_error_is_given_back_after_an_error(capfd):
    def fail(function, contents):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        jpeg_warnings([WHOLE], fail)
    os.write(2, b"heard")
    assert capfd.readouterr().err == "heard"
