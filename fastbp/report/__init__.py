"""One page on a training run, in one file that can be read offline (extra ``plot``)."""

from .data import Report, from_network
from .page import html, write

__all__ = ["Report", "from_network", "html", "write"]
