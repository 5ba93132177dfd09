"""Figures as ratios with their spread: a table on standard output, JSON, and a chart (SVG and PNG)."""

import json
import statistics
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Figure:
    """One measure over several rounds; `ours` and `peers` were taken in turn, pair by pair.

    `less_is_better` turns the ratio round, so that above 1 always means that Rookery is ahead.
    """

    name: str
    unit: str
    ours: list[float]
    theirs: list[float]
    peer: str
    target: float | None = None
    less_is_better: bool = False

    def ratios(self) -> list[float]:
        pairs = zip(self.ours, self.theirs, strict=True)
        return [(b / a if self.less_is_better else a / b) for a, b in pairs if a and b]


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}"


def spread(values: list[float]) -> str:
    """Number, median, 90th and 99th percentile, greatest."""
    ordered = sorted(values)
    shown = [ordered[min(len(ordered) - 1, int(len(ordered) * share))] for share in (0.5, 0.9, 0.99, 1.0)]
    return f"{len(ordered):>6} " + " ".join(f"{value:>8,.0f}" for value in shown)


def table(figures: list[Figure]) -> str:
    lines = [
        f"{'measure':<34} {'unit':<10} {'rookery':>12} {'peer':>12} {'ratio':>7} {'(min .. max)':>17}  target  peer"
    ]
    for figure in figures:
        ratios = figure.ratios()
        if ratios:
            ratio = f"{statistics.median(ratios):7.2f} {f'({min(ratios):.2f} .. {max(ratios):.2f})':>17}"
            theirs = _number(statistics.median(figure.theirs))
        else:
            ratio, theirs = f"{'-':>7} {'':>17}", "-"
        target = "-" if figure.target is None else f"{figure.target:g}"
        ours = _number(statistics.median(figure.ours))
        lines.append(f"{figure.name:<34} {figure.unit:<10} {ours:>12} {theirs:>12} {ratio}  {target:>6}  {figure.peer}")
    return "\n".join(lines)


def write(figures: list[Figure], folder: Path) -> None:
    """results.json, chart.svg and chart.png in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.json").write_text(json.dumps([asdict(f) | {"ratios": f.ratios()} for f in figures], indent=1))
    compared = [f for f in figures if f.ratios()]
    if not compared:
        return
    medians = [statistics.median(f.ratios()) for f in compared]
    low = [m - min(f.ratios()) for m, f in zip(medians, compared, strict=True)]
    high = [max(f.ratios()) - m for m, f in zip(medians, compared, strict=True)]
    drawing, axes = _rows(f"{f.name}  (vs {f.peer})" for f in compared)
    places = range(len(compared))
    colours = ["#2b7a4b" if m >= 1 else "#b5532a" for m in medians]
    axes.barh(places, medians, xerr=[low, high], color=colours, error_kw={"ecolor": "#444", "capsize": 3})
    for place, figure in zip(places, compared, strict=True):
        if figure.target is not None:
            axes.plot([figure.target] * 2, [place - 0.4, place + 0.4], color="#222", linewidth=2)
    axes.set_xscale("log")
    axes.axvline(1, color="#999", linewidth=1)
    axes.set_xlabel("times the peer, log scale; whiskers: least to greatest; black mark: target")
    axes.set_title("Rookery beside its peers, one machine, one run")
    _save(drawing, folder / "chart.svg", folder / "chart.png")


def dots(found: dict[str, list[float]], file: Path, unit: str, title: str) -> None:
    """A row for each name, a dot for each value, a line at the median."""
    drawing, axes = _rows(found)
    for place, values in enumerate(found.values()):
        axes.plot(values, [place] * len(values), "o", color="#2b7a4b", alpha=0.6)
        axes.plot([statistics.median(values)] * 2, [place - 0.35, place + 0.35], color="#222", linewidth=2)
    axes.set_xlim(left=0)
    axes.set_xlabel(unit)
    axes.set_title(title)
    file.parent.mkdir(parents=True, exist_ok=True)
    _save(drawing, file)


def _rows(names: Iterable[str]) -> tuple[Any, Any]:
    """Figure and axes of a chart with named rows, the first on top."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    shown = list(names)
    drawing, axes = pyplot.subplots(figsize=(9, 0.45 * len(shown) + 1.6))
    axes.set_yticks(range(len(shown)), shown)
    axes.set_ylim(len(shown) - 0.5, -0.5)
    return drawing, axes


def _save(drawing: Any, *files: Path) -> None:
    drawing.tight_layout()
    for file in files:
        drawing.savefig(file, dpi=110, metadata={"Date": None} if file.suffix == ".svg" else None)
