"""The command line of a recipe that measures."""

import argparse


def measuring_parser(command, description, output, **kwargs):
    """A parser with the option `--output`, and a function that adds one more in a line.

    Args:
        command: Str, how the recipe is called, such as `"python recipes/probe.py"`.
        description: Str.
        output: Str, the folder that is written if none is given.
        **kwargs: Other arguments of `argparse.ArgumentParser`.

    Returns:
        `(parser, add)`; `add(name, metavar, help, **kwargs)`, as the parser's `add_argument`.

    Example:

    >>> parser, add = measuring_parser("python recipes/probe.py", "Probes.", "runs/probe")
    >>> add("--seed", "N", "of the halves (%(default)s)", type=int, default=0)
    >>> vars(parser.parse_args(["--seed", "3"]))
    {'output': 'runs/probe', 'seed': 3}
    """
    parser = argparse.ArgumentParser(
        prog=command,
        usage=f"{command} [options]",
        description=description,
        formatter_class=lambda prog: argparse.HelpFormatter(prog, max_help_position=26, width=80),
        **kwargs,
    )

    def add(name, metavar=None, help=None, **kwargs):
        if "action" not in kwargs:
            kwargs["metavar"] = metavar
        parser.add_argument(name, help=help, **kwargs)

    add("--output", "DIR", "folder to write (%(default)s)", default=output)
    return parser, add
