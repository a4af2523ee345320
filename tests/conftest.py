"""What tests of several rooms need: the shared folder, a tokenizer, and small models with random, lively weights."""

from __future__ import annotations

import io
import math
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

# One thread a process: models this small lose by two, most of all where other work shares the machine.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["NO_TORCH_COMPILE"] = "1"  # moshi reads it when imported; compiling would cost more than the tests

import pytest
import sentencepiece
import torch
from torch import Tensor, nn

from vivavoce.checkpoints import SttConfig, SttModel, save_stt
from vivavoce.checkpoints.hub import KNOWN_MODELS
from vivavoce.nn.conv import CausalConvTranspose1d
from vivavoce.nn.lm import Lm, LmConfig
from vivavoce.nn.mimi import Mimi, MimiConfig
from vivavoce.nn.quantizer import ResidualQuantizer

from .hub import Hub
from .hub import hub as hub  # a fixture

SMALL_MIMI = MimiConfig(
    encoder_filters=4, decoder_filters=6, ratios=(4, 5, 6, 8), kernels=(7, 3, 3), decoder_kernels=(7, 3, 3),
    dimension=32, encoder_layers=2, decoder_layers=1, hidden=64, codebooks=6, bins=64, codebook_dim=16,
    heads=2, context=20,
)  # fmt: skip
SMALL_LM = LmConfig(
    dim=64, num_heads=4, num_layers=2, hidden=176, n_q=4, card=64, text_card=32, text_card_out=32,
    context=12, max_period=100_000.0, extra_heads=4, extra_heads_dim=6,
)  # fmt: skip
MakeModel = Callable[..., SttModel]
if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"  # read when a kernel is defined: the GPU's kernels then run on the CPU


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of specifications and recordings, which is not part of the repository."""
    beside = Path(__file__).parents[2] / "shared"
    path = Path(os.environ.get("VIVAVOCE_SHARED", beside))
    if not path.is_dir():
        pytest.skip(f"no shared folder at {path}; set VIVAVOCE_SHARED")
    return path


@pytest.fixture(scope="session")
def tokenizer() -> bytes:
    """A sentencepiece model of 32 pieces with the reserved ids of the released ones."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["viva voce by the living voice"] * 20),
        model_writer=model,
        vocab_size=32,
        hard_vocab_limit=False,
        character_coverage=1.0,
        pad_id=3,
        minloglevel=2,
        user_defined_symbols=[f"▁{number}" for number in range(12)],
    )
    return model.getvalue()


@pytest.fixture(scope="session")
def make_model(tokenizer: bytes) -> MakeModel:
    """Builds models: `make_model(lm={...}, mimi={...}, seed=0)`, the objects being changes to the small sizes."""
    pieces = sentencepiece.SentencePieceProcessor(model_proto=tokenizer)
    names = tuple(pieces.IdToPiece(i) for i in range(pieces.GetPieceSize()))

    def make(
        lm: dict[str, object] | LmConfig = {},  # noqa: B006
        mimi: dict[str, object] | MimiConfig = {},  # noqa: B006
        seed: int = 0,
    ) -> SttModel:
        base = replace(SMALL_LM, text_card=len(names), text_card_out=len(names))
        lm_config = replace(base, **lm) if isinstance(lm, dict) else lm
        mimi_config = replace(SMALL_MIMI, **mimi) if isinstance(mimi, dict) else mimi
        torch.manual_seed(seed)
        networks = Mimi(mimi_config), Lm(lm_config)
        for network in networks:
            enliven(network)
        spread_codebooks(networks[0])
        settings = SttConfig("small", audio_delay_seconds=0.48, languages=("en",))
        return SttModel(settings, networks[0].eval(), networks[1].eval(), names)

    return make


@torch.no_grad()
def enliven(network: nn.Module) -> None:
    """Random weights that neither blow up nor fade, with every part of the network audible in the result."""
    for module in network.modules():
        for name, weight in module.named_parameters(recurse=False):
            if name in ("bias",):
                weight.normal_(0, 0.1)
            elif name in ("alpha", "scale") or weight.dim() == 1:
                weight.normal_(0.5, 0.1)
            else:
                weight.normal_(0, 1.3 / fan_in(module, weight) ** 0.5)
    if isinstance(network, Lm):
        network.embeddings.normal_(0, 1)
        network.embeddings[-1] = 0


def fan_in(module: nn.Module, weight: Tensor) -> int:
    if isinstance(module, CausalConvTranspose1d):
        return 2 if module.depthwise else 2 * weight.shape[0]
    return max(1, weight[:1].numel())


def noise(seconds: float, seed: int = 0) -> Tensor:
    """Audio [1, samples] whose level and colour keep changing, so that its codes do too."""
    generator = torch.Generator().manual_seed(seed)
    samples = round(seconds * 12.5) * 1920
    white = torch.randn(samples, generator=generator)
    steps = torch.rand(samples // 960, generator=generator).repeat_interleave(960)
    pitch = torch.rand(samples // 1920, generator=generator).repeat_interleave(1920) * 0.3
    return (steps * (0.3 * white + torch.sin(torch.cumsum(pitch, 0))))[None] * 0.5


@torch.no_grad()
def spread_codebooks(mimi: Mimi) -> None:
    """Codebooks drawn from the latents of some audio, level by level, so that every level has something to choose."""
    latent = mimi.latent(noise(10, seed=99)).flatten(0, 1)
    for quantizer in (mimi.quantizer.semantic, mimi.quantizer.acoustic):
        spread(quantizer, latent)
    loudness = mimi.decode(mimi.encode(noise(2, seed=98))).std()
    for parameter in mimi.decoder.blocks[-1].parameters():
        parameter.mul_(0.2 / loudness)  # tolerances below are those of speech at a normal level


def spread(quantizer: ResidualQuantizer, latent: Tensor) -> None:
    residual = quantizer.project_in(latent)
    bins, width = quantizer.codebooks.shape[1:]
    # Entries as long as what the best of them can take off a residual: longer or shorter ones all look alike to it.
    length = min(1.0, (2 * math.log(bins) / width) ** 0.5)
    for book in quantizer.codebooks:
        drawn = residual[torch.randint(len(residual), (bins,))]
        book.copy_(length * (0.5 * drawn + 0.87 * residual.std() * torch.randn_like(drawn)))
        residual = residual - book[torch.cdist(residual, book).argmin(-1)]


@pytest.fixture(scope="session")
def audio() -> Callable[..., Tensor]:
    return noise


@pytest.fixture
def released_hub(hub: Hub, make_model: MakeModel, tokenizer: bytes, tmp_path: Path) -> dict[str, str]:
    """Kyutai's repository names on the loopback hub, with small random weights; the environment that leads there."""
    save_stt(make_model(), tmp_path / "released", tokenizer=tokenizer)
    for known in KNOWN_MODELS:
        hub.repositories[known.name] = tmp_path / "released"
    return {"HF_ENDPOINT": hub.address, "HF_HOME": str(tmp_path / "hf"), "NO_PROXY": "127.0.0.1"}
