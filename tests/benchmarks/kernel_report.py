"""What the kernel's benchmark measured, as CSV, as a Markdown page and as a figure."""

import csv
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Row:
    """One number: which part measured it, of what (a solver, or a size on the part's axis), and its unit."""

    part: str
    what: str
    value: float
    unit: str


@dataclass
class Report:
    """Rows as they come, and remarks that are not numbers."""

    rows: list[Row] = field(default_factory=list)
    remarks: list[tuple[str, str]] = field(default_factory=list)

    def add(self, part: str, what: str, value: float, unit: str) -> None:
        """Note a number and show it."""
        self.rows.append(Row(part, what, float(value), unit))
        print(f"{what:46s} {value:12.4g} {unit}", flush=True)

    def remark(self, part: str, text: str) -> None:
        """Note a sentence and show it."""
        self.remarks.append((part, text))
        print(text, flush=True)

    def series(self, part: str, unit: str) -> tuple[list[float], list[float]]:
        """Return the sizes and values of a part whose rows are named by a size."""
        rows = [r for r in self.rows if r.part == part and r.unit == unit]
        return [float(r.what) for r in rows], [r.value for r in rows]

    def write(self, out: Path) -> None:
        """Write kernel-bench.csv, .md and .png into `out`."""
        with (out / "kernel-bench.csv").open("w", newline="") as file:
            table = csv.writer(file)
            table.writerow(["part", "what", "value", "unit"])
            table.writerows([r.part, r.what, f"{r.value:.6g}", r.unit] for r in self.rows)
        lines = ["# Kernel benchmark", ""]
        for part in dict.fromkeys([r.part for r in self.rows] + [p for p, _ in self.remarks]):
            lines += [f"## {part}", ""]
            lines += [f"{text}\n" for p, text in self.remarks if p == part]
            rows = [r for r in self.rows if r.part == part]
            if rows:
                lines += ["| what | value | unit |", "|---|---:|---|"]
                lines += [f"| {r.what} | {r.value:.4g} | {r.unit} |" for r in rows]
                lines.append("")
        (out / "kernel-bench.md").write_text("\n".join(lines))
        self._draw(out / "kernel-bench.png")

    def _draw(self, path: Path) -> None:
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import pyplot as plt

        figure, axes = plt.subplots(2, 3, figsize=(12, 6.4), constrained_layout=True)
        self._draw_speeds(axes[0, 0])
        for axis, part, unit, label, base in (
            (axes[0, 1], "trajectories", "ns a step", "trajectories", 10),
            (axes[0, 2], "steps", "ns a step", "steps", 10),
            (axes[1, 0], "width", "ps a FLOP", "width of the hidden layers", 2),
            (axes[1, 1], "threads", "times one thread", "threads", 2),
            (axes[1, 2], "order", "distance", "steps", 10),
        ):
            x, y = self.series(part, unit)
            if not x:
                axis.set_visible(False)
                continue
            axis.plot(x, y, "o-", color="black", label="measured")
            axis.set_xscale("log", base=base)
            axis.set_xlabel(label)
            axis.set_ylabel({"distance": "rms distance from a fine path"}.get(unit, unit))
            if part == "width":
                peak = [r.value for r in self.rows if r.part == "width at the peak"]
                for value in peak[:1]:
                    axis.axhline(value, color="grey", linestyle="--", label="multiply-adds alone")
            elif part == "threads":
                axis.plot(x, x, color="grey", linestyle="--", label="ideal")
                free = [r.value for r in self.rows if r.part == part and r.what.endswith("by processor time")]
                axis.plot(x, free, "o", color="black", fillstyle="none", label="by processor time")
                axis.set_xticks(x, [f"{n:.0f}" for n in x])
            elif part == "order":
                axis.set_yscale("log")
                axis.plot(x, [y[0] * x[0] / n for n in x], color="grey", linestyle="--", label="order 1")
            if part != "order":
                axis.set_ylim(0.0, 1.1 * max(max(line.get_ydata()) for line in axis.get_lines()))
            if axis.get_legend_handles_labels()[1] != ["measured"]:
                axis.legend(frameon=False)
        figure.savefig(path, dpi=150)
        plt.close(figure)

    def _draw_speeds(self, axis: Any) -> None:
        rows = [r for r in self.rows if r.part == "speed" and r.unit == "1000 trajectories a second"]
        if not rows:
            axis.set_visible(False)
            return
        rows.sort(key=lambda r: r.value)
        colours = ["black" if r.what.startswith("ohmflow") else "silver" for r in rows]
        axis.barh([r.what for r in rows], [r.value for r in rows], color=colours)
        axis.set_xscale("log")
        axis.tick_params(axis="y", labelsize=7)
        axis.set_xlabel("1000 trajectories a second, one core")
