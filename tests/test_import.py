import subprocess
import sys

# What only some who import the package need, and takes long to load.
LATER = "keras_cv", "scipy.optimize", "jinja2", "kagglehub", "cin_keras.gallery"


def test_importing_the_package_loads_no_more_than_it_needs():
    code = f"import sys, cin_keras; print([name for name in {LATER} if name in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "[]\n"


def test_every_part_that_is_documented_is_an_attribute():
    code = "import cin_keras; cin_keras.evaluation.write_report, cin_keras.distribution.distribute"
    subprocess.run([sys.executable, "-c", code], check=True)
