"""The same training step by other means, to be timed beside fastbp."""
