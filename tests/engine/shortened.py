"""The 135M model with its first two layers only: its tokens and cells, many times faster, and nonsense for answers."""

from __future__ import annotations

from pathlib import Path

import gguf

N_LAYERS = 2


def write_shortened(model: Path, path: Path) -> Path:
    """Write the beginning of the GGUF file `model` to `path`."""
    source = gguf.GGUFReader(model)
    architecture = source.fields["general.architecture"].contents()
    n_layers = f"{architecture}.block_count"
    writer = gguf.GGUFWriter(path, architecture)
    for name, field in source.fields.items():
        if name.startswith("GGUF.") or name == "general.architecture":
            continue
        value = N_LAYERS if name == n_layers else field.contents()
        kind, *item_kind = field.types
        writer.add_key_value(name, value, kind, *item_kind[:1])
    for tensor in source.tensors:
        layer = tensor.name.removeprefix("blk.").partition(".")[0]
        if not layer.isdigit() or int(layer) < N_LAYERS:
            writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
