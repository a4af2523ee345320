"""The -trfs layout, written by transformers itself, and its model against ours."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from vivavoce.checkpoints import SttModel, load_stt
from vivavoce.nn.rows import Rows

pytest.importorskip("transformers", reason="the reference package transformers is not installed")
pytestmark = pytest.mark.filterwarnings("ignore")  # whatever the peer warns of is its own affair
CONTEXT = 12


@pytest.fixture(scope="module")
def peer() -> Any:
    """A small model whose every part matters."""
    from transformers import KyutaiSpeechToTextConfig, KyutaiSpeechToTextForConditionalGeneration, MimiConfig

    codec = MimiConfig(
        hidden_size=32, num_filters=4, codebook_size=64, codebook_dim=16, vector_quantization_hidden_dimension=16,
        num_quantizers=4, num_hidden_layers=2, intermediate_size=64, num_attention_heads=2, num_key_value_heads=2,
        sliding_window=400, upsample_groups=32,
    )  # fmt: skip
    config = KyutaiSpeechToTextConfig(
        codebook_vocab_size=65, vocab_size=33, hidden_size=64, num_hidden_layers=2, num_attention_heads=4,
        sliding_window=CONTEXT, ffn_dim=352, num_codebooks=4, audio_bos_token_id=64, audio_pad_token_id=33 + 4 * 65,
        bos_token_id=32, codec_config=codec, rope_parameters={"rope_type": "default", "rope_theta": 100_000.0},
    )  # fmt: skip
    torch.manual_seed(0)
    model = KyutaiSpeechToTextForConditionalGeneration(config).eval()
    randomise(model)
    return model


@torch.no_grad()
def randomise(model: Any) -> None:
    for name, weight in [*model.named_parameters(), *model.named_buffers()]:
        if weight.dim() > 1:
            weight.normal_(0, 1.3 / weight[0].numel() ** 0.5)
        elif name.endswith(("norm.weight", "scale", "cluster_usage")):
            weight.uniform_(0.5, 1.5)
        elif name.endswith("bias"):
            weight.normal_(0, 0.1)
    model.model.embed_tokens.embed_tokens.weight.normal_()
    model.model.embed_tokens.embed_tokens.weight[-1] = 0
    model.lm_head.weight[-1] = 0
    for name, book in model.named_buffers():
        if name.endswith("embed_sum"):
            book.normal_()


@pytest.fixture
def folder(peer: Any, tmp_path: Path, tokenizer: bytes) -> Path:
    """What the released -trfs repositories hold, in several shards."""
    from transformers import KyutaiSpeechToTextFeatureExtractor

    peer.save_pretrained(tmp_path, max_shard_size="200KB")
    features = KyutaiSpeechToTextFeatureExtractor(audio_delay_seconds=2.5, audio_silence_prefix_seconds=1.0)
    features.save_pretrained(tmp_path)
    (tmp_path / "tokenizer.model").write_bytes(tokenizer)
    return tmp_path


@pytest.fixture
def model(folder: Path) -> SttModel:
    return load_stt(folder, device="cpu")


def test_the_feature_extractor_says_how_the_model_wants_its_audio(model: SttModel) -> None:
    assert (model.config.audio_delay_seconds, model.config.audio_silence_prefix_seconds) == (2.5, 1.0)


def test_codes_are_transformers(model: SttModel, peer: Any, audio: Callable[..., Tensor]) -> None:
    sound = audio(4)
    with torch.no_grad():
        theirs = peer.codec_model.encode(sound[None]).audio_codes[0].T
        ours = model.mimi.encode(sound)[0]
    assert len(ours.unique()) > 20
    assert torch.equal(ours, theirs)


def test_decoded_audio_is_transformers(model: SttModel, peer: Any, audio: Callable[..., Tensor]) -> None:
    with torch.no_grad():
        codes = model.mimi.encode(audio(4))
        ours, theirs = model.mimi.decode(codes), peer.codec_model.decode(codes.mT).audio_values[:, 0]
    torch.testing.assert_close(ours, theirs, atol=1e-5 * float(theirs.std()), rtol=1e-5)


def test_logits_are_transformers_within_the_context(model: SttModel, peer: Any) -> None:
    """Within, because transformers 5.23 masks its forward pass causally and without the window."""
    generator = torch.Generator().manual_seed(1)
    text = torch.randint(0, 32, (1, CONTEXT), generator=generator)
    codes = torch.randint(0, 64, (1, CONTEXT, 4), generator=generator)
    with torch.no_grad():
        ours, _ = model.lm(text, codes)
        theirs = peer(input_ids=torch.cat([text[..., None], codes], -1)).logits
    torch.testing.assert_close(ours, theirs[..., :-1], atol=1e-4, rtol=0)  # theirs has a row for the start token


def test_generated_tokens_are_transformers(model: SttModel, peer: Any, audio: Callable[..., Tensor]) -> None:
    """Theirs runs one step less: frame f is heard one step later than necessary (spec/model.md §3.2)."""
    sound = audio(3 * CONTEXT / 12.5)
    theirs = peer.generate(input_values=sound[None], do_sample=False)[0]
    ours = torch.tensor(greedy(model, sound))
    assert len(ours.unique()) > 5
    generated = theirs[1:]
    assert len(generated) >= 3 * CONTEXT - 1
    assert generated.tolist() == ours[: len(generated)].tolist()


@torch.no_grad()
def greedy(model: SttModel, audio: Tensor) -> list[int]:
    lm, rows = model.lm, Rows([0])
    memory, codec = lm.state(1), model.mimi.encoder_state(1)
    text, column = lm.start(1)
    tokens = []
    for frame in [None, *audio.split(1920, 1)]:
        if frame is not None:
            column = model.mimi.encode(frame, codec, rows, lm.config.n_q)
        text = lm(text, column, memory, rows)[0].argmax(-1)
        tokens.append(int(text))
    return tokens


def test_a_tokenizer_json_gives_the_same_pieces(folder: Path, model: SttModel, tokenizer: bytes) -> None:
    """The converter's form: a unigram vocabulary in tokenizer.json instead of the sentencepiece file."""
    import sentencepiece
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    pieces = sentencepiece.SentencePieceProcessor(model_proto=tokenizer)
    scores = [(pieces.IdToPiece(i), pieces.GetScore(i)) for i in range(32)]
    fast = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.Unigram(scores, 0)), unk_token="<unk>")
    (folder / "tokenizer.model").unlink()
    fast.save_pretrained(folder)
    assert load_stt(folder, device="cpu").pieces == model.pieces
