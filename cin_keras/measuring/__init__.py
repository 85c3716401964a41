"""What the measuring recipes share: rounds by turns, results that last, tables and pictures."""

from cin_keras.measuring.machine import describe_machine
from cin_keras.measuring.memory import (
    bytes_of_python,
    measure_memory,
    memory_table,
    peak_megabytes,
)
from cin_keras.measuring.options import measuring_parser
from cin_keras.measuring.results import Results
from cin_keras.measuring.rounds import by_turns, seconds, spread, summarize
from cin_keras.measuring.tables import (
    markdown_table,
    plus_minus,
    short,
    summary_table,
    with_quartiles,
)
