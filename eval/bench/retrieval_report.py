"""The tables and the plot of a retrieval benchmark."""

from __future__ import annotations

from typing import Any

from svg_file import svg_file

from ecomfs_eval.report.svg import Axis, Series, chart

_MB = 1e6


def markdown(result: dict[str, Any]) -> str:
    """Tables of times, of memory and build, of what was skipped, and of the machine."""
    lines = [
        "| pool | batch | system | p50 ms | p99 ms | CPU p50 ms | ours ÷ this | recall@8 |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for size in result["sizes"]:
        for r in sorted(size["rows"], key=lambda r: r["batch"]):
            ratio = r.get("ours_to_this")
            shown = "–" if ratio is None or r["system"] == "ecomfs" else f"{ratio:.3g}"
            lines.append(
                f"| {r['size']:,} | {r['batch']} | {r['system']} | {r['p50_ms']:.3f}"
                f" | {r['p99_ms']:.3f} | {r['cpu_p50_ms']:.3f} | {shown} | {r['recall']:.3f} |"
            )
    lines += [
        "",
        "| pool | system | build s | peak of build MB | resident MB | ÷ matrix + text |",
        "|---|---|---|---|---|---|",
    ]
    for size in result["sizes"]:
        for name, m in size["memory"].items():
            resident = m["resident_bytes"]
            shares = f"{resident / (size['matrix_bytes'] + size['text_bytes']):.2f}"
            lines.append(
                f"| {size['size']:,} | {name} | {m['build_s']:.2f}"
                f" | {m['build_peak_bytes'] / _MB:,.1f} | {resident / _MB:,.1f} | {shares} |"
            )
    lines.append("")
    for size in result["sizes"]:
        for name, why in size["skipped"].items():
            lines.append(f"Skipped at {size['size']:,}: {name}: {why}.")
    m = result["machine"]
    lines.append(
        f"\nMachine: {m['processor']}, {m['cores']} cores, {m['threads']} thread(s) a search;"
        f" Python {m['python']}, NumPy {m['numpy']}."
    )
    return "\n".join(lines) + "\n"


def plot(result: dict[str, Any]) -> str:
    """Milliseconds of one query by pool size, both logarithmic, as an SVG file."""
    points: dict[str, list[tuple[float, float]]] = {}
    for size in result["sizes"]:
        for r in size["rows"]:
            if r["batch"] == 1:
                points.setdefault(r["system"], []).append((r["size"], r["p50_ms"]))
    every = [p for line in points.values() for p in line]
    series = [
        Series(name, [x for x, _ in line], [y for _, y in line], style=number)
        for number, (name, line) in enumerate(points.items())
    ]
    powers = tuple(10.0**n for n in range(-3, 7))
    low = max(t for t in powers if t <= min(y for _, y in every))
    high = min(t for t in powers if t >= max(y for _, y in every))
    xs = sorted({x for x, _ in every})
    drawing = chart(
        "Retrieval time by pool size",
        "Median milliseconds of one query, k = 8, for each system",
        Axis("examples in the pool", xs[0], max(xs[-1], xs[0] + 1), "log", ticks=tuple(xs)),
        Axis(
            "ms a query (median)",
            low,
            high,
            "log",
            ticks=tuple(p for p in powers if low <= p <= high),
        ),
        series,
    )
    return svg_file([drawing], list(points))
