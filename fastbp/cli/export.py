"""``fastbp export``: a model for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from ..model import Model

#: Formats by the ending of the file.
ENDINGS = {".onnx": "onnx", ".c": "c", ".pt": "torch", ".pth": "torch",
           ".safetensors": "safetensors"}


@click.command("export")
@click.argument("model", type=click.Path(exists=True))
@click.option("--output", "-o", required=True, type=click.Path(dir_okay=False), metavar="FILE",
              help="File to write; a failure leaves an earlier one as it was.")
@click.option("--format", "kind", type=click.Choice(sorted(set(ENDINGS.values()))),
              help="Default: by the ending of FILE, .onnx, .c, .pt or .safetensors.")
def command(model: str, output: str, kind: str | None) -> None:
    """Export MODEL for other programs.

    onnx: a file for ONNX Runtime and others. c: one C99 file without dependencies. torch: a state
    dict for torch.load. safetensors: the network's tensors under torch's names.
    """
    kind = kind or ENDINGS.get(Path(output).suffix.lower())
    if kind is None:
        raise click.UsageError(f"--output {output}: name a --format, or one of the endings "
                               f"{', '.join(ENDINGS)}")
    from ..model import file_of, load_model
    from .exits import note

    found = load_model(model)
    if Path(output).exists() and Path(output).samefile(file_of(model)):
        raise click.UsageError(f"--output {output} would replace MODEL, which holds more: choose "
                               "another")
    _write(kind, found, output)
    note(f"{kind} written to {output}")


def _write(kind: str, model: Model, output: str) -> None:
    if kind == "onnx":
        from ..io.onnx import to_onnx

        to_onnx(model, output)
    elif kind == "c":
        from ..io.c import to_c

        to_c(model, output, Path(output).stem)
    elif kind == "torch":
        import io

        from ..io.files import write_whole
        from ..io.torch import to_torch_state_dict

        tensors = to_torch_state_dict(model.network)  # without PyTorch it says what to install
        import torch

        held = io.BytesIO()
        torch.save(tensors, held)
        write_whole(output, held.getvalue())
    else:
        model.network.save(output)
