"""The same training step in other libraries, to be timed beside fastbp."""
