"""Stream: the Ray Data stages Generate, Score and Agree."""
