"""AMX over emulated tiles (tiles.h), which a machine with AVX-512 has, and these against real ones where there are."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vivavoce.engine.kernels import build
from vivavoce.engine.kernels.library import Library
from vivavoce.engine.kernels.lm import NativeLm, Precision
from vivavoce.engine.kernels.packing import Format
from vivavoce.nn.lm import LmConfig
from vivavoce.tools.machine import processor

from .likeness import error, model
from .test_kernels import FRAMES, USUAL, shapes, some_calls

BESIDE = "avx512_bf16"  # whose code is around the tiles
ROUNDED = [Precision(weights, Format.INT8) for weights in (Format.INT8, Format.INT4)]
# All that is said of the kernels and of engines over them, but where no product is on tiles: PyTorch and fp32.
CLAIMS = ["test_kernels*.py", "test_laws.py", "test_tts_laws.py"]
THEREOF = "not [pytorch and not [float32 and not embedded_voice and not without_a_compiler"


@pytest.fixture(scope="module")
def emulated(kernels: Library, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library whose best instruction set is AMX, here."""
    if BESIDE not in kernels.isas:
        pytest.skip("emulated tiles too have AVX-512 with bfloat16 around them, which this machine has not")
    if not build._knows(build._compiler(), build.ISAS["amx"]):
        pytest.skip("this compiler does not know AMX")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build, "ISAS", {isa: build.ISAS[isa] for isa in ("plain", "amx")})
        return build.build(tmp_path_factory.mktemp("amx"), ["-DEMULATE_TILES"])


def test_all_that_is_said_of_the_kernels_and_the_laws_of_engines_hold_on_tiles(emulated: Path) -> None:
    """Parity with PyTorch for any shape and any number of rows, and no bit of a stream from its neighbours."""
    assert next(iter(Library(emulated).isas)) == "amx"
    files = [path for pattern in CLAIMS for path in sorted(Path(__file__).parent.glob(pattern))]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *map(str, files), "-k", THEREOF]
    environment = {**os.environ, "VIVAVOCE_TEST_KERNELS": str(emulated)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]


@given(config=shapes(), precision=st.sampled_from(ROUNDED), slots=st.integers(1, 40), seed=st.integers(0, 9))
@settings(max_examples=30, deadline=None, derandomize=True)
def test_of_integers_tiles_make_what_vectors_make_bit_for_bit(
    kernels: Library, emulated: Path, config: LmConfig, precision: Precision, slots: int, seed: int
) -> None:
    """Up to 160 rows: several tiles of them at once, and several times as many."""
    lm = model(config, seed)
    on_tiles = NativeLm(Library(emulated), lm, slots, FRAMES, precision, isa="amx")
    on_vectors = NativeLm(kernels, lm, slots, FRAMES, precision, isa=BESIDE)
    for call in some_calls(config, slots, 4, seed):
        ours, theirs = on_tiles.hear(*call), on_vectors.hear(*call)
        assert torch.equal(ours[0], theirs[0])
        assert torch.equal(ours[1], theirs[1])


def test_amx_is_taken_only_where_the_processor_says_that_it_has_it(kernels: Library) -> None:
    assert "amx" not in kernels.isas or "AMX" in processor().sets


@pytest.mark.parametrize("weights", [Format.BFLOAT16, Format.INT8, Format.INT4], ids=lambda kind: kind.name)
def test_the_tiles_of_this_machine_are_the_emulated_ones(kernels: Library, emulated: Path, weights: Format) -> None:
    if "amx" not in kernels.isas:
        pytest.skip("no AMX here, or none that the system lets a process use")
    lm, precision = model(USUAL), Precision(weights, Format.FLOAT32)
    libraries = kernels, Library(emulated)
    real, made = (NativeLm(library, lm, 9, FRAMES, precision, threads=2, isa="amx") for library in libraries)
    for call in some_calls(USUAL, 9, 20, 2):
        ours, theirs = real.hear(*call)[0], made.hear(*call)[0]
        if weights is Format.BFLOAT16:
            assert error(ours, theirs) < 0.005  # another order of sums makes 0.002
        else:
            assert torch.equal(ours, theirs)


@pytest.mark.usefixtures("emulated")
def test_the_library_that_users_get_has_the_instructions(kernels: Library) -> None:
    """A tile for the weights and one for the rows, once more for those of fewer than 16 lines, and sums in four."""
    disassembler = shutil.which("objdump")
    if disassembler is None:
        pytest.skip("no objdump here (binutils)")
    command = [disassembler, "--disassemble", "--no-show-raw-insn", "--disassembler-options=intel"]
    listing = subprocess.run([*command, kernels._functions._name], capture_output=True, text=True, check=True).stdout
    told = set(re.findall(r"^ *[0-9a-f]+:\t((?:ldtilecfg|tile|tdp)\w*) *((?:tmm\d,?)*)", listing, re.MULTILINE))
    products = {f"tmm{sums},tmm{rows},tmm{rows + 1}" for sums in range(4) for rows in (4, 6)}
    assert {operands for name, operands in told if name == "tdpbsud"} == products
    assert {operands for name, operands in told if name == "tdpbf16ps"} == products
    assert {operands for name, operands in told if name == "tdpbusd"} == {"tmm0,tmm4,tmm5"}
    assert {name for name, _ in told} == {
        "ldtilecfg", "tilerelease", "tilezero", "tileloadd", "tilestored", "tdpbsud", "tdpbusd", "tdpbf16ps"
    }  # fmt: skip
