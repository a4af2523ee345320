"""`vivavoce plan`: streams that fit, never more than memory, the fork's care and measured steps allow."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from vivavoce.checkpoints import load_stt
from vivavoce.core import ExitCode
from vivavoce.engine import SttEngine
from vivavoce.engine.gpu.budget import Budget
from vivavoce.engine.kernels.packing import Format
from vivavoce.engine.kernels.rings import Rings
from vivavoce.tools import cards, machine, plan
from vivavoce.tools.measured import NARROW, TILED, WIDE, Machine, like

from .conftest import Ran, Run

ROOT = Path(__file__).parents[2]
RESULTS, OPERATIONS = ROOT / "bench" / "results" / "README.md", ROOT / "docs" / "operations.md"
SMALL, LARGE = "kyutai/stt-1b-en_fr", "kyutai/stt-2.6b-en-candle"


def told(ran: Ran) -> dict[str, Any]:
    return json.loads(ran.out)


@pytest.mark.parametrize("model", [SMALL, LARGE])
@pytest.mark.parametrize("name", list(cards.CARDS))
def test_no_plan_for_a_gpu_is_less_careful_than_the_fork(name: str, model: str) -> None:
    made = plan.on_gpu(plan.sizes_of(model), cards.card(name))
    assert made.fork is not None
    assert made.slots <= made.fork.slots
    assert made.slots <= made.memory[0].slots


@pytest.mark.parametrize("name", ["RTX 2070", "L4", "H100"])
def test_what_fits_is_what_the_engine_takes(name: str) -> None:
    """The engine divides memory by the same arithmetic: so many slots keep their whole context, one more does not."""
    model, gpu = plan.sizes_of(SMALL), cards.card(name)
    made = plan.on_gpu(model, gpu)
    assert gpu.free is not None
    kept = model.lm.embeddings.dtype
    for slots, whole in ((made.memory[0].slots, True), (made.memory[0].slots + 1, False)):
        budget = Budget.of(model.mimi, model.lm, slots, 16, kept, None, 16, free=gpu.free - made.weights)
        assert (budget.pages >= slots * 49) == whole  # 765 positions lie in 49 pages


def test_a_gpu_by_name_number_and_size(run: Run) -> None:
    named = told(run("plan", "--model", SMALL, "--gpu", "NVIDIA L4", "--json"))
    assert (named["where"], named["dtype"], named["fork"]["per_slot"]) == ("L4, sm89", "bfloat16", 121)
    assert [kept["dtype"] for kept in named["memory"]] == ["bfloat16", "float8_e4m3fn"]

    here = told(run("plan", "--model", SMALL, "--json", gpus="NVIDIA L4,8,9,23034,22500"))
    assert here["free"] == 22500 << 20
    assert told(run("plan", "--gpu", "1", "--json", gpus="A,8,0,9000,8000;B,9,0,9000,7000"))["where"] == "B, sm90"

    sized = told(run("plan", "--model", SMALL, "--vram-mb", "8192", "--free-mb", "7800", "--sm", "sm75", "--json"))
    assert (sized["dtype"], sized["fork"]["slots"]) == ("float16", 16)
    assert [kept["dtype"] for kept in sized["memory"]] == ["float16", "int8"]


def test_packed_weights_leave_a_gpu_more_room(run: Run) -> None:
    full = told(run("plan", "--model", SMALL, "--gpu", "L4", "--json"))
    packed = told(run("plan", "--model", SMALL, "--gpu", "L4", "--dtype", "int8", "--json"))
    assert packed["dtype"] == "int8"
    assert 0.8e9 < full["weights"] - packed["weights"] < 0.85e9  # one byte instead of two for 822 million weights
    assert packed["memory"][0]["dtype"] == "bfloat16"
    assert packed["memory"][0]["slots"] > full["memory"][0]["slots"]


def test_the_forks_variables_change_its_estimate(run: Run) -> None:
    plain = ("plan", "--model", SMALL, "--gpu", "L4", "--json")
    assert told(run(*plain, MOSHI_PER_BATCH_ITEM_MB="600"))["fork"]["per_slot"] == 600
    before = told(run(*plain))["fork"]["available"]
    assert told(run(*plain, MOSHI_VRAM_RESERVED_MB="2048"))["fork"]["available"] == before + 512
    assert told(run(*plain, MOSHI_MIMI_ESTIMATE_MB="0"))["fork"]["available"] == before + 1024
    assert told(run(*plain, MOSHI_MODEL_PARAMS_BILLIONS="7.0"))["fork"]["weights"] == 13351


def test_exit_code_1_where_it_does_not_fit(run: Run) -> None:
    none = run("plan", "--model", LARGE, "--vram-mb", "4096")
    assert none.code == ExitCode.FAILURE
    assert "slots: 0" in none.out
    assert run("plan", "--model", SMALL, "--gpu", "L4", "--slots", "64").code == 0
    assert run("plan", "--model", SMALL, "--gpu", "L4", "--slots", "1000").code == ExitCode.FAILURE


def test_machines_for_many_streams(run: Run) -> None:
    made = told(run("plan", "--model", SMALL, "--gpu", "L4", "--streams", "10000", "--json"))
    assert made["machines"] == -(-10000 // made["slots"])


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--gpu", "RTX"], ExitCode.UNSUPPORTED, "RTX 3060"),
        (["--gpu", "Voodoo 2"], ExitCode.UNSUPPORTED, "or say --vram-mb"),
        (["--gpu", "3"], ExitCode.UNSUPPORTED, "has 0 GPUs"),
        (["--gpu", "L4", "--vram-mb", "5"], ExitCode.USAGE, "one of --gpu and --vram-mb"),
        (["--gpu", "L4", "--cpu"], ExitCode.USAGE, "--cpu excludes"),
        (["--gpu", "L4", "--measure"], ExitCode.USAGE, "--cpu"),
        (["--free-mb", "5"], ExitCode.USAGE, "name one with --gpu"),
        (["--model", "random:none"], ExitCode.UNSUPPORTED, "random:stt-1b"),
        (["--model", "someone/unknown"], ExitCode.CHECKPOINT, "vivavoce model pull someone/unknown"),
        (["--model", "./nowhere"], ExitCode.CHECKPOINT, "no such folder"),
        (["--gpu", "L4", "--dtype", "int4"], ExitCode.UNSUPPORTED, "kernels for cpu"),
        (["--gpu", "T4", "--dtype", "int8"], ExitCode.UNSUPPORTED, "needs compute capability 8.0; T4 is sm75"),
        (["--gpu", "L4", "--dtype", "fp7"], ExitCode.UNSUPPORTED, "fp7"),
    ],
)
def test_what_cannot_be_planned(run: Run, arguments: list[str], code: ExitCode, said: str) -> None:
    ran = run("plan", *arguments)
    assert (ran.code, ran.out) == (code, "")
    assert said in ran.err


@pytest.mark.parametrize(
    ("sets", "slots"),
    [
        (("AVX2", "AVX-512", "AVX-512 VNNI"), 13),
        (("AVX2", "AVX-512", "AVX-512 VNNI", "AMX"), 10),
        (("AVX2",), 5),
        (("NEON",), 13),
    ],
)
def test_this_processor_by_what_was_measured_on_the_likest(
    run: Run, monkeypatch: pytest.MonkeyPatch, sets: tuple[str, ...], slots: int
) -> None:
    monkeypatch.setattr(plan.machine, "processor", lambda: machine.Processor("some processor", 2, sets))
    made = told(run("plan", "--cpu", "--json"))
    assert made["limit"] in ("step", "memory")
    assert made["steps"]["where"] == like(sets, ("embedded", "float32")).name  # type: ignore[union-attr]
    packed = told(run("plan", "--cpu", "--model", SMALL, "--dtype", "int8", "--json"))["steps"]
    assert (packed["where"], packed["slots"]) == (like(sets, ("stt-1b", "int8")).name, slots)  # type: ignore[union-attr]


def test_steps_are_measured_here(run: Run) -> None:
    made = told(run("plan", "--cpu", "--measure", "--threads", "1", "--json"))
    assert (made["steps"]["where"], made["steps"]["threads"]) == ("this machine", 1)
    assert list(made["steps"]["milliseconds"])[:2] == ["1", "2"]
    assert run("plan", "--cpu", "--model", LARGE).out.count("not measured") == 1


def table(text: str, beginning: str) -> dict[tuple[str, int], float]:
    """Milliseconds of a median by the first cell and the number of streams, of a table whose heading begins so."""
    heading, _, *rows = re.search(rf"^\| {beginning} \|.*(?:\n\|.*)+", text, re.MULTILINE)[0].splitlines()  # type: ignore[index]
    counts = heading.removesuffix(" streams |").split(" | ")[1:]
    cells = ([cell.strip() for cell in row.strip("|").split("|")] for row in rows)
    return {
        (shape, int(count)): float(cell.split(" / ")[0])
        for shape, *medians in cells
        for count, cell in zip(counts, medians, strict=True)
        if " / " in cell
    }


@pytest.mark.parametrize(("machine", "sets"), [(NARROW, "AVX2"), (TILED, "AMX")])
def test_the_measured_figures_of_a_kind_of_machine_are_those_of_its_table(machine: Machine, sets: str) -> None:
    assert table(RESULTS.read_text(), f"shape, dtype, {sets}") == {
        (f"{shape}, {dtype}", batch): taken
        for (shape, dtype), (_, milliseconds) in machine.steps.items()
        for batch, taken in milliseconds.items()
    }


def test_the_measured_figures_are_those_of_the_results() -> None:
    text = RESULTS.read_text()
    wide = table(text, "shape, dtype")
    for (shape, dtype), (threads, milliseconds) in WIDE.steps.items():
        for batch, taken in milliseconds.items():
            if dtype.startswith("int"):
                assert wide[f"{shape}, {dtype}", batch] == taken
            else:
                assert f"| {shape}, {dtype}, {threads} | {batch} | {taken} ms |" in text, (shape, dtype, batch)


@pytest.mark.parametrize("name", list(cards.CARDS))
def test_the_capacity_table_of_the_documentation_is_what_the_plan_says(name: str) -> None:
    small, large = (plan.on_gpu(plan.sizes_of(model), cards.card(name)) for model in (SMALL, LARGE))
    figures = [cards.CARDS[name][0], *(n for made in (small, large) for n in (made.slots, made.memory[1].slots))]
    assert f"| {name} | {' | '.join(map(str, figures))} |" in OPERATIONS.read_text()


def test_a_stream_is_counted_with_as_much_less_as_its_rings_are_in_a_smaller_precision() -> None:
    model = plan.sizes_of(SMALL)
    lm = model.lm.config

    def rings(memory: Format) -> int:
        width, capacity = lm.dim // lm.num_heads, lm.context + SttEngine.TOGETHER - 1
        return sum(part.nbytes for part in Rings(lm.num_layers, 1, lm.num_heads, width, capacity, memory).tensors)

    for memory in Format:
        saved = plan.cpu_slot_bytes(model, "float32") - plan.cpu_slot_bytes(model, memory.name.lower())
        assert saved == pytest.approx(rings(Format.FLOAT32) - rings(memory), rel=0.01)


def test_memory_of_a_stream_is_what_an_engine_grows_by() -> None:
    """In a process of its own, since memory once taken stays with a process; wide margins."""
    code = """
import numpy, psutil
from vivavoce.checkpoints import load_stt
from vivavoce.engine import SttEngine
model = load_stt(device="cpu")
engine = SttEngine.fastest(model.mimi, model.lm, 128)
before = psutil.Process().memory_info().rss
for slot in range(128): engine.open(slot)
frames = numpy.random.default_rng(0).normal(0, 0.1, (16, 1920)).astype(numpy.float32)
for _ in range(5): engine.catch_up(dict.fromkeys(range(128), frames))
print((psutil.Process().memory_info().rss - before) / 128)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 0.5 < float(done.stdout) / plan.cpu_slot_bytes(load_stt(device="meta"), "float32") < 2
