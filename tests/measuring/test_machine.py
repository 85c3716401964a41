import json
import os

import keras
import pytest

from cin_keras.measuring import machine
from cin_keras.measuring.machine import describe_machine
from cin_keras.threads import available_cores


@pytest.mark.every_backend
def test_the_record_names_backend_device_and_versions():
    found = json.loads(json.dumps(describe_machine()))
    assert found["backend"] == keras.backend.backend()
    assert found["versions"]["keras"] == keras.__version__
    if machine.accelerator() is None:
        assert found["device"] == f"{available_cores()} CPU cores, {machine.processor()}"


def test_cores_are_those_of_this_process():
    assert available_cores() == len(os.sched_getaffinity(0))
    assert machine.processor()
