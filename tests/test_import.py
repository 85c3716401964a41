import subprocess
import sys

# What only some who import the package need, and takes long to load.
LATER = "keras_cv", "scipy.optimize", "scipy.stats", "jinja2", "kagglehub", "cin_keras.gallery"


def test_importing_the_package_loads_no_more_than_it_needs():
    code = f"""import sys, cin_keras
print([name for name in {LATER} if name in sys.modules])
# Every part that is documented is an attribute.
print(cin_keras.evaluation.write_report.__name__, cin_keras.distribution.distribute.__name__)
print([name for name in {LATER[:3]} if name in sys.modules])"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "[]\nwrite_report distribute\n[]\n"
