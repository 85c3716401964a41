"""The command line of a recipe that measures."""

from cin_keras.training.options import Parser


def measuring_parser(command, description, output, **kwargs):
    """A parser with the option `--output`.

    Args:
        command: Str, how the recipe is called, such as `"python recipes/probe.py"`.
        description: Str.
        output: Str, the folder that is written if none is given.
        **kwargs: Other arguments of `argparse.ArgumentParser`.

    Returns:
        `cin_keras.training.options.Parser`.

    Example:

    >>> parser = measuring_parser("python recipes/probe.py", "Probes.", "runs/probe")
    >>> parser.add("--seed", "N", "of the halves (%(default)s)", type=int, default=0)
    >>> vars(parser.parse_args(["--seed", "3"]))
    {'output': 'runs/probe', 'seed': 3}
    """
    usage = f"{command} [options]"
    parser = Parser(prog=command, usage=usage, description=description, **kwargs)
    parser.add("--output", "DIR", "folder to write (%(default)s)", default=output)
    return parser
