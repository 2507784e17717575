"""Results as HTML for notebooks: small tables and bars in the colours of the surrounding page.

Every text is escaped. Colours are inherited, so the same HTML is readable on a light and on a dark
page. Nothing is loaded and there is no script.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape

MOST_BARS = 10
"""Values that :func:`bars` shows; the rest is counted."""

STYLE = """
.ecomfs-view{font:inherit;color:inherit;line-height:1.45;max-width:64em}
.ecomfs-view>header{font-weight:600;margin:.2em 0}
.ecomfs-view p{margin:.25em 0}
.ecomfs-view table{border-collapse:collapse;margin:.4em 0;font:inherit;color:inherit;
background:none;border:0}
.ecomfs-view th,.ecomfs-view td{padding:.2em .9em .2em 0;text-align:left;vertical-align:top;
border:0;border-bottom:1px solid rgba(128,128,128,.4);background:none;color:inherit;
white-space:normal;overflow-wrap:break-word}
.ecomfs-view td:last-child{overflow-wrap:anywhere}
.ecomfs-view th{font-weight:600}
.ecomfs-view .n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
.ecomfs-view .w{width:12em;min-width:6em}
.ecomfs-view .b{display:block;height:.7em;margin-top:.35em;min-width:1px;background:currentColor;
opacity:.4}
.ecomfs-view .chosen{font-weight:600}.ecomfs-view .chosen .b{opacity:.85}
.ecomfs-view .note{opacity:.8}
.ecomfs-view pre{white-space:pre-wrap;overflow-wrap:anywhere;margin:.4em 0;padding:.5em .7em;
border:1px solid rgba(128,128,128,.4);border-radius:4px;background:none;color:inherit}
.ecomfs-view summary{cursor:pointer}
""".replace("\n", "")


def view(title: str, *parts: str) -> str:
    """One result: a title, and parts made by the other functions.

    Args:
        title: a text; it is escaped.
        parts: HTML.

    >>> view("<b>", paragraph("a & b")).endswith(
    ...     '<header>&lt;b&gt;</header><p>a &amp; b</p></div>')
    True
    """
    top = f"<style>{STYLE}</style><header>{escape(title)}</header>"
    return f'<div class="ecomfs-view">{top}{"".join(parts)}</div>'


def paragraph(text: str, *, note: bool = False) -> str:
    """A paragraph; nothing for an empty text.

    >>> paragraph("1 < 2"), paragraph("")
    ('<p>1 &lt; 2</p>', '')
    """
    mark = ' class="note"' if note else ""
    return f"<p{mark}>{escape(text)}</p>" if text else ""


def table(
    header: Sequence[str], rows: Iterable[Sequence[object]], *, chosen: Iterable[int] = ()
) -> str:
    """A table; numbers are right-aligned, ``None`` is a dash.

    Args:
        header: titles of the columns.
        rows: cells: texts, integers, floats (three decimals).
        chosen: positions of the rows to highlight.

    >>> table(["label", "p"], [["<good>", 0.25], ["bad", None]], chosen=[0])[49:]
    '...<tr class="chosen"><td>&lt;good&gt;</td><td class="n">0.250</td></tr>...'
    """
    marked = set(chosen)
    kept = [list(row) for row in rows]
    right = [
        bool(kept) and all(isinstance(row[i], int | float | None) for row in kept)
        for i in range(len(header))
    ]
    titles = "".join(
        f"<th{_right(right[i])}>{escape(title)}</th>" for i, title in enumerate(header)
    )
    lines = [
        f"<tr{_chosen(at in marked)}>"
        + "".join(f"<td{_right(right[i])}>{_cell(cell)}</td>" for i, cell in enumerate(row))
        + "</tr>"
        for at, row in enumerate(kept)
    ]
    return f"<table><thead><tr>{titles}</tr></thead><tbody>{''.join(lines)}</tbody></table>"


def bars(values: Mapping[str, float], chosen: str | None = None) -> str:
    """Shares between 0 and 1, the largest first, each with a bar.

    Args:
        values: name → share; at most :data:`MOST_BARS` are shown.
        chosen: the name to highlight.

    >>> bars({"bad": 0.2, "good": 0.8}, "good").count("<tr"), bars({})
    (2, '')
    """
    if not values:
        return ""
    ranked = sorted(values.items(), key=lambda item: -item[1])
    lines = [
        f'<tr{_chosen(name == chosen)}><td>{escape(name)}</td><td class="n">{value:.3f}</td>'
        f'<td class="w"><span class="b" style="width:{100 * min(max(value, 0), 1):.1f}%"></span>'
        "</td></tr>"
        for name, value in ranked[:MOST_BARS]
    ]
    rest = len(ranked) - MOST_BARS
    more = paragraph(f"and {rest} more", note=True) if rest > 0 else ""
    return f"<table><tbody>{''.join(lines)}</tbody></table>{more}"


def folded(title: str, text: str) -> str:
    """A text that is shown on a click.

    >>> folded("prompt", "<x>")
    '<details><summary>prompt</summary><pre>&lt;x&gt;</pre></details>'
    """
    return f"<details><summary>{escape(title)}</summary><pre>{escape(text)}</pre></details>"


def _chosen(is_chosen: bool) -> str:
    return ' class="chosen"' if is_chosen else ""


def _right(is_right: bool) -> str:
    return ' class="n"' if is_right else ""


def _cell(value: object) -> str:
    if value is None or value != value:  # NaN
        return "–"
    return f"{value:.3f}" if isinstance(value, float) else escape(str(value))


__all__ = ["bars", "folded", "paragraph", "table", "view"]
