"""AVX-512 over emulated vectors (vector.h) and AMX over emulated tiles (tiles.h), beside real ones where there are."""

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
ROUNDED = [Precision(kind, kind) for kind in (Format.INT8, Format.INT4)]
# All that is said of the kernels and of engines over them, but where no product is on tiles: PyTorch and fp32.
CLAIMS = ["test_kernels*.py", "test_laws.py", "test_tts_laws.py"]
THEREOF = "not [pytorch and not [float32 and not embedded_voice and not without_a_compiler"


def built(folder: Path, isa: str, *flags: str) -> Path:
    """A library in which this instruction set is the best, and is none that the machine must have."""
    flags = ("-O1", "-DEMULATE_WIDE", *flags)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build, "ISAS", {"plain": [], isa: ["-mavx2", "-mfma"]})
        return build.build(folder, flags)


@pytest.fixture(scope="module")
def vectors(kernels: Library, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """AVX-512 with bfloat16."""
    if "avx2" not in kernels.isas:
        pytest.skip("the vectors of AVX-512 are made of those of AVX2, which this machine has not")
    return built(tmp_path_factory.mktemp("vectors"), BESIDE)


@pytest.fixture(scope="module")
def tiles(vectors: Path) -> Path:
    """AMX, with such vectors around it."""
    return built(vectors.parent / "tiles", "amx", "-DEMULATE_TILES", "-D__AMX_TILE__")


@pytest.mark.parametrize(("library", "isa"), [("vectors", BESIDE), ("tiles", "amx")])
def test_all_that_is_said_of_the_kernels_and_the_laws_of_engines_hold(
    library: str, isa: str, request: pytest.FixtureRequest
) -> None:
    """Parity with PyTorch for any shape and any number of rows, and no bit of a stream from its neighbours."""
    emulated: Path = request.getfixturevalue(library)
    assert list(Library(emulated).isas) == [isa, "plain"]
    files = [path for pattern in CLAIMS for path in sorted(Path(__file__).parent.glob(pattern))]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *map(str, files), "-k", THEREOF]
    environment = {**os.environ, "VIVAVOCE_TEST_KERNELS": str(emulated)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]


def granted(kernels: Library) -> Library:
    if "amx" not in kernels.isas:
        pytest.skip("no AMX here, or none that the system lets a process use")
    return kernels


@pytest.fixture(scope="module", params=["emulated", "of this machine"])
def both(request: pytest.FixtureRequest, kernels: Library) -> tuple[Library, Library]:
    """Tiles, and the vectors that are compiled as what is around them: floats then have the same sums."""
    if request.param == "emulated":
        return Library(request.getfixturevalue("tiles")), Library(request.getfixturevalue("vectors"))
    return granted(kernels), kernels


@given(config=shapes(), precision=st.sampled_from(ROUNDED), slots=st.integers(1, 40), seed=st.integers(0, 9))
@settings(max_examples=30, deadline=None, derandomize=True)
def test_of_integers_tiles_make_what_vectors_make_bit_for_bit(
    both: tuple[Library, Library], config: LmConfig, precision: Precision, slots: int, seed: int
) -> None:
    """Up to 160 rows: several tiles of them at once, and several times as many."""
    lm = model(config, seed)
    on_tiles = NativeLm(both[0], lm, slots, FRAMES, precision, isa="amx")
    on_vectors = NativeLm(both[1], lm, slots, FRAMES, precision, isa=BESIDE)
    for call in some_calls(config, slots, 4, seed):
        ours, theirs = on_tiles.hear(*call), on_vectors.hear(*call)
        assert torch.equal(ours[0], theirs[0])
        assert torch.equal(ours[1], theirs[1])


def test_amx_is_taken_only_where_the_processor_says_that_it_has_it(kernels: Library) -> None:
    assert "amx" not in kernels.isas or "AMX" in processor().sets


def test_of_bfloat16_the_tiles_of_this_machine_are_the_emulated_ones(kernels: Library, tiles: Path) -> None:
    lm, precision = model(USUAL), Precision(Format.BFLOAT16, Format.FLOAT32)
    libraries = granted(kernels), Library(tiles)
    real, made = (NativeLm(library, lm, 9, FRAMES, precision, threads=2, isa="amx") for library in libraries)
    for call in some_calls(USUAL, 9, 20, 2):
        assert error(real.hear(*call)[0], made.hear(*call)[0]) < 0.005  # another order of sums makes 0.002


@pytest.fixture(scope="module")
def listing(kernels: Library) -> str:
    """The code of the library that users get."""
    disassembler = shutil.which("objdump")
    if disassembler is None:
        pytest.skip("no objdump here (binutils)")
    command = [disassembler, "--disassemble", "--no-show-raw-insn", "--disassembler-options=intel"]
    return subprocess.run([*command, kernels._functions._name], capture_output=True, text=True, check=True).stdout


def known(isa: str) -> None:
    if not build._knows(build._compiler(), build.ISAS[isa]):
        pytest.skip(f"this compiler does not know {isa}")


def test_products_of_bytes_are_one_instruction_where_there_is_one(listing: str) -> None:
    """AVX-512's, and on what has VNNI without AVX-512, which is not what tests run on, AVX2's."""
    known("avx_vnni")
    assert "\tvpdpbusd zmm" in listing
    assert "\t{vex} vpdpbusd ymm" in listing


def test_the_library_has_the_instructions_of_amx(listing: str) -> None:
    """A tile for the weights and one for the rows, but of halves again for fewer than 16 lines; four sums."""
    known("amx")
    told = set(re.findall(r"^ *[0-9a-f]+:\t((?:ldtilecfg|tile|tdp)\w*) *((?:tmm\d,?)*)", listing, re.MULTILINE))
    products = {f"tmm{sums},tmm{rows},tmm{rows + 1}" for sums in range(4) for rows in (4, 6)}
    assert {operands for name, operands in told if name == "tdpbsud"} == products
    assert {operands for name, operands in told if name == "tdpbf16ps"} == products
    assert {operands for name, operands in told if name == "tdpbusd"} == {f"tmm{sums},tmm4,tmm5" for sums in range(4)}
    assert {name for name, _ in told} == {
        "ldtilecfg", "tilerelease", "tilezero", "tileloadd", "tilestored", "tdpbsud", "tdpbusd", "tdpbf16ps"
    }  # fmt: skip
