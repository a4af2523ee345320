"""The charts of docs/, from bench/results: `python bench/charts.py` after a measurement; needs matplotlib.

Of runs with the same shape, dtype and threads the last one counts.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

RESULTS = Path(__file__).parent / "results"
IMAGES = Path(__file__).parents[1] / "docs" / "img"
OURS, PEER, LIMIT, INK = "#0f766e", "#a8a29e", "#b91c1c", "#44403c"
FRAME_MS, FINAL_MS = 80, 500


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--out", type=Path, default=IMAGES)
    out = options.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    mpl.rcParams |= {"svg.hashsalt": "vivavoce", "svg.fonttype": "none", "font.family": "sans-serif", "font.size": 10}
    charts = ("step.svg", _steps()), ("capacity.svg", _capacity()), ("confidence.svg", _confidence())
    for name, chart in charts:
        chart.savefig(out / name, metadata={"Date": None}, bbox_inches="tight")
        print(out / name)


def _steps() -> Figure:
    """Ours and moshi's time for one frame of all streams, each pair a row, on a logarithmic axis."""
    runs = {(run["shape"], run["dtype"], run["threads"]): run for run in _read("step-vs-moshi.jsonl")}
    rows = [
        (f"{shape}, {dtype}, {threads} thr., {row['batch']} str.", row["ours_ms"], row["peer_ms"])
        for (shape, dtype, threads), run in sorted(runs.items())
        for row in run["rows"]
        if row.get("peer_ms")
    ]
    figure = Figure(figsize=(8, 1 + 0.32 * len(rows)))
    axes = figure.subplots()
    for place, (_, ours, peer) in enumerate(rows):
        axes.barh(place - 0.19, peer, 0.36, color=PEER, label="moshi" if place == 0 else None)
        axes.barh(place + 0.19, ours, 0.36, color=OURS, label="vivavoce" if place == 0 else None)
        axes.text(peer * 1.07, place + 0.02, f"{ours / peer:.2f}", va="center", color=OURS, fontweight="bold")
    axes.set_yticks(range(len(rows)), [name for name, _, _ in rows])
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.set_xlabel("ms for one 80 ms frame of all streams on 2 cores; bold: ours / moshi's; red: real time")
    _limit(axes, axes.axvline, FRAME_MS)
    axes.legend(loc="lower right", frameon=False)
    return figure


def _capacity() -> Figure:
    """What the last ramp of live streams met: the engine's step and the last word's delay."""
    last = next(run for run in reversed(list(_read("load.jsonl"))) if "capacity" in run)
    loads = sorted(last["loads"], key=lambda load: load["streams"])
    streams = [load["streams"] for load in loads]
    figure = Figure(figsize=(8, 3.2))
    axes = figure.subplots()
    steps, finals = ([load["steps"]["p95_ms"] for load in loads], [1e3 * load["flushed"]["p95"] for load in loads])
    axes.plot(streams, steps, "o-", color=OURS, label="step of the engine, p95")
    axes.plot(streams, finals, "s--", color=INK, label="end of speech to the last word, p95")
    axes.set_yscale("log")
    axes.set_ylabel("ms")
    axes.set_xlabel(
        f"live streams of {last['model']} on {last['machine']}, {last['dtype']}; {last['capacity']} kept up"
    )
    axes.axvline(last["capacity"], color=INK, lw=0.8, ls=":")
    for limit in FRAME_MS, FINAL_MS:
        _limit(axes, axes.axhline, limit)
        axes.text(streams[-1], limit, f"at most {limit} ms", color=LIMIT, ha="right", va="bottom", fontsize=8)
    axes.legend(loc="upper left", frameon=False)
    return figure


def _confidence() -> Figure:
    """Of the words of each tenth of confidence, how many were right; the dot's area is how many there are."""
    last = list(_read("confidence.jsonl"))[-1]
    figure = Figure(figsize=(4.2, 4.2))
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color=PEER, lw=1)
    sure, right, words = zip(*((one["confidence"], one["right"], one["words"]) for one in last["bins"]), strict=True)
    axes.scatter(sure, right, [20 + 300 * count / last["words"] for count in words], color=OURS)
    axes.set_xlabel(f"confidence; expected calibration error {100 * last['error']:.1f} % of {last['words']} words")
    axes.set_ylabel("share of words that were said")
    axes.set(xlim=(0, 1.02), ylim=(0, 1.02))
    return figure


def _limit(axes: Axes, line: Any, value: float) -> None:
    line(value, color=LIMIT, lw=0.8)
    for side in "top", "right":
        axes.spines[side].set_visible(False)


def _read(name: str) -> Iterator[dict[str, Any]]:
    for line in (RESULTS / name).read_text().splitlines():
        yield json.loads(line)


if __name__ == "__main__":
    main()
