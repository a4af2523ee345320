"""`vivavoce convert`: other layouts and precisions, judged by what loads them, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from vivavoce.checkpoints import SttModel, load_stt, load_tts, save_stt
from vivavoce.checkpoints.save import WEIGHTS
from vivavoce.checkpoints.tokenizers import as_json, as_sentencepiece
from vivavoce.core import ExitCode

from .conftest import Ran, Run


@pytest.fixture
def model(make_model: Callable[..., SttModel]) -> SttModel:
    """Both halves of its codec are alike, as of the released ones."""
    return make_model(mimi={"decoder_filters": 4, "decoder_layers": 2})


@pytest.fixture
def source(model: SttModel, tokenizer: bytes, tmp_path: Path) -> str:
    """The PyTorch layout in bf16."""
    save_stt(model, tmp_path / "source", tokenizer=tokenizer)
    return "source"


def told(ran: Ran) -> dict[str, Any]:
    assert ran.code == 0, ran.err
    return json.loads(ran.out)


def parameters(folder: Path) -> dict[str, Tensor]:
    model = load_stt(folder, device="cpu", dtype="float32")
    return {**dict(model.lm.named_parameters()), **dict(model.mimi.named_parameters())}


@pytest.mark.parametrize("layout", ["pytorch", "candle", "trfs"])
@pytest.mark.parametrize("dtype", ["float16", "float32", "bfloat16"])
def test_what_is_written_loads_with_the_same_numbers(
    run: Run, source: str, tmp_path: Path, layout: str, dtype: str
) -> None:
    """There and back, whatever lies between; bf16 to fp16 loses only what fp16 has no exponent for."""
    there = told(run("convert", source, "there", "--layout", layout, "--dtype", dtype, "--json"))
    assert (there["layout"], there["dtype"], there["written"]) == (layout, dtype, True)
    told(run("convert", "there", "back", "--json"))
    before, after = parameters(tmp_path / source), parameters(tmp_path / "back")
    assert before.keys() == after.keys()
    if layout == "trfs":
        assert len(after.pop("extra_heads")) == 0
    for name, numbers in after.items():
        torch.testing.assert_close(numbers, before[name], rtol=0, atol=6e-8 if dtype == "float16" else 0)
    assert load_stt(tmp_path / "back", device="cpu").pieces == load_stt(tmp_path / source, device="cpu").pieces


def test_what_the_layout_has_no_words_for_is_said(run: Run, source: str) -> None:
    ran = run("convert", source, "there", "--layout", "trfs", "--json")
    assert told(ran)["lost"] == ["4 VAD heads"]
    assert "trfs has no room for 4 VAD heads" in ran.err
    uneven = run("convert", "stt-digits-en", "embedded", "--layout", "trfs")
    assert uneven.code == ExitCode.CHECKPOINT
    assert "halves differ" in uneven.err


@pytest.mark.filterwarnings("ignore")
def test_transformers_opens_what_is_written_for_it(
    run: Run, source: str, tmp_path: Path, audio: Callable[..., Tensor]
) -> None:
    transformers = pytest.importorskip("transformers")
    assert run("convert", source, "there", "--layout", "trfs", "--dtype", "float32").code == 0
    peer = transformers.KyutaiSpeechToTextForConditionalGeneration.from_pretrained(tmp_path / "there")
    ours, sound = load_stt(tmp_path / source, device="cpu"), audio(2)
    codes = ours.mimi.encode(sound)[..., : ours.lm.config.n_q]
    theirs = peer.codec_model.encode(sound[None]).audio_codes[0].T
    assert torch.equal(codes[0], theirs[:, : ours.lm.config.n_q])
    text = torch.randint(0, 30, (1, 8))
    with torch.no_grad():
        logits = peer(input_ids=torch.cat([text[..., None], codes[:, :8]], -1)).logits
        torch.testing.assert_close(ours.lm(text, codes[:, :8])[0], logits[..., :-1], atol=1e-4, rtol=0)
    features = transformers.AutoFeatureExtractor.from_pretrained(tmp_path / "there")
    assert features.audio_delay_seconds == 0.48


def test_a_tokenizer_says_the_same_in_either_file(tokenizer: bytes, tmp_path: Path) -> None:
    import sentencepiece
    import tokenizers

    (tmp_path / "tokenizer.json").write_text(json.dumps(as_json(tokenizer)))
    theirs = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    back = sentencepiece.SentencePieceProcessor(model_proto=as_sentencepiece(tmp_path / "tokenizer.json"))
    ours = sentencepiece.SentencePieceProcessor(model_proto=tokenizer)
    for text in ("viva voce", "by the living voice", "7 3"):
        tokens = ours.Encode(text)
        assert theirs.encode(text).ids == tokens
        assert (theirs.decode(tokens), back.Decode(tokens)) == (ours.Decode(tokens),) * 2
    assert [back.IdToPiece(i) for i in range(32)] == [ours.IdToPiece(i) for i in range(32)]
    assert (back.unk_id(), back.IsControl(3)) == (ours.unk_id(), ours.IsControl(3))


def test_the_candle_layout_comes_with_a_config_of_moshi_server(run: Run, source: str) -> None:
    """Our reader of such files is as strict as the server, and compares every size with the checkpoint."""
    assert run("convert", source, "there", "--layout", "candle").code == 0
    ran = run("validate", "there/moshi-server.toml")
    assert (ran.code, ran.err) == (0, "")


@pytest.mark.parametrize(
    ("flags", "gpus", "reason"),
    [
        ([], "T4,7,5,15360,15000", "T4 is older than Ampere"),
        ([], "L4,8,9,23034,22500;T4,7,5,15360,15000", "T4 is older than Ampere"),
        ([], "", "no GPU was found"),
        (["--force"], "L4,8,9,23034,22500", "asked for"),
        (["--simulate", "sm75"], "L4,8,9,23034,22500", "simulated sm75 is older than Ampere"),
        (["--skip-when-undetected"], "T4,7,5,15360,15000", "T4 is older than Ampere"),
    ],
)
def test_sm75_converts_and_writes_a_config(
    run: Run, source: str, tmp_path: Path, flags: list[str], gpus: str, reason: str
) -> None:
    done = told(run("convert", "--sm75", *flags, source, "there", "--json", gpus=gpus))
    assert (done["converted"], done["reason"], done["dtype"]) == (True, reason, "float16")
    assert load_file(tmp_path / "there" / WEIGHTS)["text_emb.weight"].dtype == torch.float16
    shown = run("config", "show", "--config", "there/serve.toml").out
    assert "float16" in shown
    assert str(tmp_path / "there") in shown
    assert run("validate", "there/serve.toml").code == 0


@pytest.mark.parametrize(
    ("flags", "gpus", "reason"),
    [
        ([], "L4,8,9,23034,22500", "L4 has bfloat16"),
        (["--skip-when-undetected"], "", "no GPU was found"),
        (["--simulate", "9.0"], "T4,7,5,15360,15000", "simulated sm90 has bfloat16"),
    ],
)
def test_sm75_does_nothing_where_nothing_is_needed(
    run: Run, tmp_path: Path, flags: list[str], gpus: str, reason: str
) -> None:
    done = told(run("convert", "--sm75", *flags, "kyutai/not-even-looked-for", "there", "--json", gpus=gpus))
    assert done == {"converted": False, "reason": reason}
    assert not (tmp_path / "there").exists()


def test_a_file_changes_in_its_bf16_tensors_alone(run: Run, tmp_path: Path) -> None:
    tensors = {
        "b": torch.tensor([[1.0, -2.5], [1e-30, 300.0]], dtype=torch.bfloat16),
        "f": torch.tensor([1e30, 3.0]),
        "i": torch.tensor([7, -1]),
        "none": torch.zeros(0, 3, dtype=torch.bfloat16),
    }
    save_file(tensors, tmp_path / "in.safetensors", {"who": "me"})
    done = told(run("convert", "in.safetensors", "deep/out.safetensors", "--json"))
    numbers = done["range"]
    assert (numbers["converted"], numbers["untouched"], numbers["vanished"]) == (2, 2, 1)
    assert (numbers["largest"], numbers["largest_in"]) == (300.0, "b")
    after = load_file(tmp_path / "deep/out.safetensors")
    assert after["b"].dtype == torch.float16
    assert after["b"].tolist() == [[1.0, -2.5], [0.0, 300.0]]
    assert torch.equal(after["f"], tensors["f"]) and torch.equal(after["i"], tensors["i"])
    with safe_open(tmp_path / "deep/out.safetensors", "pt") as file:
        assert file.metadata() == {"who": "me"}
    wide = run("convert", "in.safetensors", "wide.safetensors", "--dtype", "float32")
    assert wide.code == 0
    assert torch.equal(load_file(tmp_path / "wide.safetensors")["b"], tensors["b"].float())


def test_a_number_that_does_not_fit_is_refused_and_nothing_is_there(run: Run, source: str, tmp_path: Path) -> None:
    weights = load_file(tmp_path / source / WEIGHTS)
    weights["out_norm.alpha"][0, 0, 3] = 1e5
    save_file(weights, tmp_path / source / WEIGHTS)
    for arguments in ([source, "there"], [f"{source}/{WEIGHTS}", "there.safetensors"]):
        ran = run("convert", *arguments, "--dtype", "float16")
        assert (ran.code, ran.out) == (ExitCode.UNSUPPORTED, "")
        assert "float16's 65504" in ran.err
        assert "norm.alpha" in ran.err
    assert {path.name for path in tmp_path.iterdir()} == {source}
    assert run("convert", source, "there", "--dtype", "float32").code == 0


def test_what_exists_is_not_touched_and_a_dry_run_writes_nothing(run: Run, source: str, tmp_path: Path) -> None:
    done = told(run("convert", source, "there", "--dry-run", "--json"))
    assert (done["written"], done["range"]["converted"] > 0) == (False, True)
    assert run("convert", f"{source}/{WEIGHTS}", "x.safetensors", "--dry-run").code == 0
    assert {path.name for path in tmp_path.iterdir()} == {source}
    ran = run("convert", source, source)
    assert ran.code == ExitCode.UNSUPPORTED
    assert "exists already" in ran.err


def test_a_model_that_speaks_changes_its_precision(run: Run, tmp_path: Path) -> None:
    assert run("convert", "tts-digits-en", "voice", "--dtype", "float16").code == 0
    before, after = load_tts("tts-digits-en", device="cpu"), load_tts(tmp_path / "voice", device="cpu")
    assert (after.config.codebooks, after.config.audio_delay_seconds) == (
        before.config.codebooks, before.config.audio_delay_seconds
    )  # fmt: skip
    torch.testing.assert_close(after.lm.embeddings, before.lm.embeddings, rtol=0, atol=6e-8)
    assert run("convert", "tts-digits-en", "other", "--layout", "trfs").code == ExitCode.UNSUPPORTED


@pytest.mark.parametrize("flags", [["--force"], ["--simulate", "sm75"], ["--skip-when-undetected"]])
def test_flags_without_their_own_are_wrong_usage(run: Run, source: str, flags: list[str]) -> None:
    assert run("convert", source, "there", *flags).code == ExitCode.USAGE
