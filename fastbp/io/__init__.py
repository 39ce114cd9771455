"""Files: models in and out."""

from .safetensors import load, save

__all__ = ["load", "save"]
