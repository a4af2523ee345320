"""The depformer of an engine on the CPU: all codes of a step, of all its streams, in one native call."""

from __future__ import annotations

import ctypes
import weakref
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

from vivavoce.nn.depformer import Depformer, DepformerLayer
from vivavoce.nn.sampling import Choice

from . import structures
from .layers import Packer
from .library import Library
from .packing import GROUP, Format, padded
from .release import release
from .rings import Rings
from .scratch import Scratch, own_of
from .speech_structures import Depformer as Struct
from .speech_structures import Speech
from .weights import Precision

PROBLEMS = {1: "the number of rows", 2: "a text token", 3: "the stream of a further row"}


class NativeDepformer:
    """Speaks the first `codebooks` codes for at most `rows` rows, a guided stream being two."""

    def __init__(
        self,
        library: Library,
        depformer: Depformer,
        codebooks: int,
        rows: int,
        format: Format,
        threads: int = 1,
        isa: str | None = None,
    ) -> None:
        self._depformer = depformer
        self._library, self._isa = library, library.isas[isa] if isa else next(iter(library.isas.values()))
        self._weights = weights = _Weights(library, depformer, codebooks, format)
        model = weights.struct
        self._rings = Rings(model.layer_count, rows, model.head_count, model.head_width, codebooks, Format.FLOAT32)
        self._scratch = weights.scratch(self._rings, threads)
        self._projected = torch.empty(rows, model.project.outputs)
        self._crew = library.crew(threads)
        weakref.finalize(self, library.dismiss, self._crew)

    def let_go(self) -> None:
        """All of it."""
        release(self._depformer)

    def speak(self, heard: Tensor, text: Tensor, choice: Choice) -> Tensor:
        """Codes int64 [B, codebooks].

        heard fp32 [rows, width of the LM]: of the B streams, then of what guides some of them. text int64 [B].
        """
        model, rows, sampling = self._weights.struct, len(heard), choice.sampling
        assert len(text) + len(choice.guided) == rows and text.dtype == choice.keys.dtype == torch.long
        assert choice.keys.shape == (len(text), model.codebooks + 1) and choice.keys.is_contiguous()
        heard = F.pad(heard, (0, model.project.inputs - heard.shape[1])).contiguous()
        codes = torch.empty(len(text), model.codebooks, dtype=torch.long)
        guided, text = torch.tensor(choice.guided, dtype=torch.long), text.contiguous()
        parts = heard, text, guided, choice.strength, sampling.temperature, sampling.last, sampling.top_p
        speech = Speech(
            *(part.data_ptr() for part in parts), choice.keys.data_ptr() + choice.keys.itemsize, codes.data_ptr(),
            self._projected.data_ptr(), choice.keys.shape[1], len(text), rows,
        )  # fmt: skip
        arguments = model, self._rings.struct, speech, self._scratch.of(rows)
        problem = self._library.speak(self._isa, self._crew, *map(ctypes.addressof, arguments))
        if problem:
            raise IndexError(f"{PROBLEMS[problem]} is out of bounds: {rows} rows, text {text.tolist()}")
        return codes


class _Weights:
    """`Depformer` of depformer.h and the memory behind it."""

    def __init__(self, library: Library, depformer: Depformer, codebooks: int, format: Format) -> None:
        config, coarse = depformer.config, min(format, Format.INT8)
        schedule = config.schedule[:codebooks]
        self._pack = pack = Packer(library, config.dim, config.num_heads, format)
        layers = cast("list[DepformerLayer]", list(depformer.layers))
        sets = max(schedule) + 1
        self.layers = (structures.Layer * (sets * config.num_layers))(
            *(self._layer(layer, index) for index in range(sets) for layer in layers)
        )
        self._heads = (structures.Matrix * codebooks)(
            *(pack.matrix(head, coarse) for head in depformer.heads.detach()[:codebooks])
        )
        project = F.pad(depformer.project.detach()[:sets], (0, 0, 0, padded(config.dim, GROUP) - config.dim))
        text = depformer.text_table.detach()[None]
        tables = depformer.tables.detach()[: codebooks - 1]
        with torch.no_grad():
            if depformer.text_widen is not None:
                text = torch.stack([F.linear(text[0], widen) for widen in depformer.text_widen])
            if depformer.widen is not None:
                tables = torch.bmm(tables, depformer.widen[: codebooks - 1].mT)
        self.struct = Struct(
            ctypes.addressof(self.layers), ctypes.addressof(self._heads), pack.matrix(project.flatten(0, 1), coarse),
            pack.table(text), pack.table(tables), pack.table(torch.tensor(schedule, dtype=torch.int32)),
            Precision.of(text.dtype).weights, config.num_layers, config.dim, padded(config.dim, GROUP),
            config.num_heads, pack.head_dim, pack.head_width, codebooks, depformer.heads.shape[1],
            depformer.text_card, depformer.demux,
        )  # fmt: skip

    def scratch(self, rings: Rings, threads: int) -> Scratch:
        model, layer = self.struct, self.layers[0]
        logits = self._heads[0].outputs
        widest = max(
            layer.qkv.outputs, model.width, layer.inner.outputs // 2, layer.outer.inputs, model.project.inputs, logits
        )
        own = max(own_of(widest, model.head_width, rings), 4 * logits)
        return Scratch(model.width, widest, layer.out.inputs, model.head_width, own, threads)

    def _layer(self, layer: DepformerLayer, index: int) -> structures.Layer:
        norms = layer.norm1.alpha, layer.norm2.alpha
        qkv, out, inner, outer = (part.weight[index] for part in (layer.qkv, layer.out, layer.inner, layer.outer))
        return self._pack.layer(norms, qkv, out, inner, outer, rotated=False)
