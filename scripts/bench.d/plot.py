# SPDX-License-Identifier: GPL-2.0
"""One kind of plot, in SVG: ratios with their intervals, one line for each cell."""
import math
from xml.sax.saxutils import escape


def ratios(path, title, data):
    """data: (name, ratio, low, high); 1.0 is the line to compare with."""
    data = [d for d in data if d[1] is not None]
    # Clip wider intervals, which are meaningless.
    low = max(min([d[2] for d in data] + [1.0]), min(d[1] for d in data) / 1.5) - 0.03
    high = min(max([d[3] for d in data] + [1.0]), max(d[1] for d in data) * 1.5) + 0.03
    step = 0.01
    while (high - low) / step > 10:
        step *= 2 if step * 2 <= 0.02 or step >= 0.05 else 2.5
    left, width, line, top = 210, 480, 20, 50
    height = top + line * len(data) + 30

    def x(value):
        return left + (min(max(value, low), high) - low) / (high - low) * width

    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + width + 80}" height="{height}" '
           'font-family="sans-serif" font-size="12">',
           '<rect width="100%" height="100%" fill="white"/>',
           f'<text x="{left}" y="20" font-size="15">{escape(title)}</text>']
    tick = math.ceil(low / step) * step
    while tick <= high:
        strong = abs(tick - 1) < step / 100
        out.append(f'<line x1="{x(tick):.1f}" y1="{top - 8}" x2="{x(tick):.1f}" y2="{height - 22}" '
                   f'stroke="{"black" if strong else "lightgray"}"/>')
        out.append(f'<text x="{x(tick):.1f}" y="{height - 6}" text-anchor="middle">{tick:.2f}</text>')
        tick += step
    for i, (name, ratio, least, most) in enumerate(data):
        y = top + line * i + line // 2
        out.append(f'<text x="{left - 8}" y="{y + 4}" text-anchor="end">{escape(name)}</text>')
        out.append(f'<line x1="{x(least):.1f}" y1="{y}" x2="{x(most):.1f}" y2="{y}" '
                   'stroke="steelblue" stroke-width="3"/>')
        out.append(f'<circle cx="{x(ratio):.1f}" cy="{y}" r="4" fill="darkblue"/>')
        out.append(f'<text x="{left + width + 8}" y="{y + 4}">{ratio:.3f}</text>')
    out.append("</svg>")
    with open(path, "w", encoding="utf-8") as f:
        f.write("\n".join(out) + "\n")
