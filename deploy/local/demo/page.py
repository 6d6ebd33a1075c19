"""The demo report as one self-contained HTML page: charts are inline SVG, nothing is loaded from anywhere."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from deploy.local.demo.report import Report

_STYLE = """
:root { color-scheme: light dark; --ink: #1c2430; --soft: #5b6675; --line: #d9dee6; --bar: #2f6f8f; --paper: #fff; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8ecf2; --soft: #9aa6b5; --line: #354050; --bar: #6db3d3; --paper: #141a22; } }
body { font: 15px/1.5 system-ui, "PingFang SC", "Noto Sans CJK SC", sans-serif; color: var(--ink); background: var(--paper); margin: 2rem auto; max-width: 62rem; padding: 0 1rem; }
h1 { font-size: 1.6rem; margin-bottom: 0 } h2 { font-size: 1.1rem; margin-top: 2.2rem } p.sub { color: var(--soft); margin-top: .2rem }
table { border-collapse: collapse; width: 100% } th, td { text-align: left; padding: .3rem .6rem; border-bottom: 1px solid var(--line) } td.n, th.n { text-align: right; font-variant-numeric: tabular-nums }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(13rem, 1fr)); gap: .8rem; margin-top: 1.2rem } .card { border: 1px solid var(--line); border-radius: .5rem; padding: .7rem .9rem }
.card b { display: block; font-size: 1.25rem; font-variant-numeric: tabular-nums } .card span { color: var(--soft); font-size: .85rem }
svg { width: 100%; height: auto } svg text { fill: var(--soft); font-size: 11px } svg rect { fill: var(--bar) } svg line { stroke: var(--line) }
"""  # noqa: E501 - a style sheet reads better in long rules


def page(report: Report) -> str:
    """The whole page."""
    charts = "".join(
        f"<h2>Revenue by month, {escape(currency)} · 月度收入</h2>{_columns(months)}"
        for currency, months in report.revenue_by_month.items()
        if months
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>Kehu demo report</title><style>{_STYLE}</style></head><body>"
        '<h1>Kehu demo report <span lang="zh">客户平台演示报告</span></h1>'
        '<p class="sub">FEBRL3 persons and CDNOW purchases are public data sets; all Chinese persons are generated and do not exist.</p>'
        f"{_cards(report.headline)}<h2>At the door · 接收</h2>{_sources(report)}{charts}"
        f"<h2>Top products of the generated persons, CNY · 热门商品</h2>{_bars(report.top_products)}"
        f"<h2>CPU per event, µs · 每事件处理器时间</h2>{_bars(list(report.cpu_microseconds.items()))}"
        f"<h2>One generated customer's life · 一位客户的经历</h2>{_table(('time', 'what', 'detail'), report.life)}"
        "</body></html>"
    )


def _cards(figures: Sequence[tuple[str, str]]) -> str:
    cards = "".join(f'<div class="card"><b>{escape(value)}</b><span>{escape(name)}</span></div>' for name, value in figures)
    return f'<div class="cards">{cards}</div>'


def _sources(report: Report) -> str:
    rows = [
        (source.name, f"{source.sent:,}", f"{source.accepted:,}", f"{source.duplicate:,}", f"{source.refused:,}", f"{source.quarantined:,}")
        for source in report.sources
    ]
    return _table(("source", "sent", "accepted", "duplicate", "refused", "quarantined"), rows, numbers_from=1)


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]], numbers_from: int = 99) -> str:
    def cells(tag: str, values: Sequence[str]) -> str:
        return "".join(f"<{tag}{' class=n' if index >= numbers_from else ''}>{escape(value)}</{tag}>" for index, value in enumerate(values))

    body = "".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    return f"<table><tr>{cells('th', columns)}</tr>{body}</table>"


def _columns(points: Sequence[tuple[str, float]]) -> str:
    """A column chart; every third label is shown so that they do not touch."""
    width, height, base = 960, 220, 190
    highest = max(value for _, value in points) or 1.0
    step = (width - 60) / len(points)
    parts = [f'<line x1="50" x2="{width}" y1="{base}" y2="{base}"/><text x="0" y="20">{highest:,.0f}</text>']
    for index, (label, value) in enumerate(points):
        tall = (base - 15) * value / highest
        x = 55 + index * step
        tip = f"<title>{escape(label)}: {value:,.2f}</title>"
        parts.append(f'<rect x="{x:.1f}" y="{base - tall:.1f}" width="{step * 0.7:.1f}" height="{tall:.1f}">{tip}</rect>')
        if index % 3 == 0:
            parts.append(f'<text x="{x:.1f}" y="{base + 18}">{escape(label)}</text>')
    return f'<svg viewBox="0 0 {width} {height}" role="img">{"".join(parts)}</svg>'


def _bars(points: Sequence[tuple[str, float]]) -> str:
    """Horizontal bars with the value beside each."""
    if not points:
        return "<p>none</p>"
    highest = max(value for _, value in points) or 1.0
    parts = []
    for index, (label, value) in enumerate(points):
        y, long = index * 26, 560 * value / highest
        parts.append(f'<text x="0" y="{y + 16}">{escape(label)}</text><rect x="220" y="{y + 4}" width="{long:.1f}" height="16"/>')
        parts.append(f'<text x="{228 + long:.1f}" y="{y + 16}">{value:,.0f}</text>')
    return f'<svg viewBox="0 0 960 {len(points) * 26 + 4}" role="img">{"".join(parts)}</svg>'
