"""Data sets as people have them, each as `Samples`: one file a layout."""
