"""What the measuring recipes share: rounds by turns, results that last, tables and pictures."""
