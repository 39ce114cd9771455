"""One page on a training run, in one file that opens without a network (extra ``plot``)."""

from .data import Report, from_network
from .page import html, write

__all__ = ["Report", "from_network", "html", "write"]
