"""Results that go on where they stopped: a file to which every finished run adds a line."""

import contextlib
import json
import pathlib

import keras

from cin_keras.data.samples import fingerprint

BYTES = "bytes of the photographs"


class Results:
    """A file of JSON lines: settings, then a record for everything that is finished.

    Several processes may add to one file at a time. Of a process that was killed while writing,
    half a line may stand in the file: it counts as not there.

    Args:
        path: Str or path of the file; its folder must exist.
        settings: Dict, what must be equal for records to stand in one file; what is `None`,
            `False` or 0 is as if it were not there.

    Raises:
        ValueError: If the file holds records with other settings, or is none of this kind.

    Example:

    >>> import tempfile
    >>> results = Results(tempfile.mkdtemp() + "/results.jsonl", {"epochs": 3})
    >>> results.once({"row": "plain", "seed": 0}, lambda: {"accuracy": 0.5})
    {'row': 'plain', 'seed': 0, 'accuracy': 0.5}
    >>> results.find(row="plain")
    [{'row': 'plain', 'seed': 0, 'accuracy': 0.5}]
    """

    def __init__(self, path, settings):
        self.path = pathlib.Path(path)
        settings = json.loads(json.dumps(settings))
        if not self.records():
            self.add(settings=settings)
        found = self.records()[0].get("settings")
        if found is None:
            raise ValueError(
                f"{self.path} does not begin with a line of settings: it is no file of results. "
                "Give another --output."
            )
        if BYTES not in found:  # a file of before they were noted
            settings.pop(BYTES, None)
        # A file may be from before there was an option.
        found, settings = ({k: v for k, v in each.items() if v} for each in (found, settings))
        if found != settings:
            names = sorted(found.keys() | settings)
            differing = [name for name in names if found.get(name) != settings.get(name)]
            raise ValueError(
                f"{self.path} holds runs with other settings ({', '.join(differing)}). "
                "Give the same, or another --output."
            )

    def records(self):
        """List of dicts, every whole line of the file."""
        records = []
        for line in self.path.read_text().splitlines() if self.path.exists() else ():
            with contextlib.suppress(json.JSONDecodeError):
                records.append(json.loads(line))
        return records

    def find(self, **key):
        """List of dicts, the records that agree with `key`."""
        return [r for r in self.records() if all(r.get(k) == v for k, v in key.items())]

    def add(self, **record):
        """Adds a line."""
        broken = self.path.exists() and self.path.read_text()[-1:] not in ("", "\n")
        with open(self.path, "a") as file:
            file.write("\n" * broken + json.dumps(record) + "\n")

    def once(self, key, make):
        """The record that agrees with `key`, made and added if there is none.

        Args:
            key: Dict, what the record is of.
            make: Function without arguments that returns a dict, the rest of the record.

        Returns:
            Dict, the last such record of the file.
        """
        if not self.find(**key):
            self.add(**key, **make())
        return self.find(**key)[-1]


def settings_of(options, free, samples):
    """What must be equal for runs to stand in one file: all options but the free ones, and the data.

    Args:
        options: Dict, every option of the command; `weights` counts by the name of its file.
        free: Names of options in which runs of one file may differ.
        samples: `Samples` of each split.

    Returns:
        Dict.

    Example:

    >>> options = {"weights": "a/b.h5", "epochs": 5, "seeds": 3, "crops": None}
    >>> settings_of(options, ["seeds"], [])["epochs"]
    5
    """
    return {
        **{name: value for name, value in options.items() if name not in free},
        "weights": pathlib.Path(options["weights"]).name,
        "data": [f"{part} {fingerprint(part)}" for part in samples],
        # Photographs of the same names may be others.
        BYTES: [sum(map(part.encoded_size, range(len(part)))) for part in samples],
        "backend": keras.backend.backend(),
    }
