"""Drawings of what stands in a street. `objects.py` states what a drawing is given."""

from math import cos, pi, sin

from longtake.datasets.mini.shapes import ACCENT, DARK, MAIN, PALE, SECOND, Pen, Variation


def tree(pen: Pen, v: Variation, phase: float) -> None:
    trunk, width, sway = v(0.3, 0.5), v(0.06, 0.11), 0.015 * sin(phase / 2)
    pen.limb((0, 0.02), (sway, trunk + 0.15), width * 1.3, DARK, width * 0.8)
    if v.chance(0.35):  # a conifer
        base = v(0.22, 0.34)
        for k, tone in enumerate((MAIN, SECOND, MAIN)):
            low, half = trunk * 0.6 + 0.21 * k, base * (1 - 0.22 * k)
            pen.polygon([(-half, low), (half, low), (sway * (k + 1), low + 0.38)], tone)
        return
    pen.limb((0, trunk * 0.8), (v(0.08, 0.2), trunk + 0.15), width * 0.6, DARK)
    pen.limb((0, trunk * 0.9), (-v(0.08, 0.2), trunk + 0.18), width * 0.6, DARK)
    spread, y = v(0.13, 0.2), trunk + 0.3
    for k in range(7):
        angle = 2 * pi * k / 6 + v(-0.3, 0.3)
        reach = 0.0 if k == 6 else spread
        center = reach * 1.2 * cos(angle) + sway * 2, y + reach * 0.9 * sin(angle)
        pen.disc(center, v(0.12, 0.2), (MAIN, MAIN, SECOND)[k % 3])
    if v.chance(0.4):  # fruit
        for k in range(6):
            pen.disc((spread * 1.2 * cos(k * 2.4), y + spread * sin(k * 2.4)), 0.03, ACCENT, 0)


def bench(pen: Pen, v: Variation, phase: float) -> None:
    width, seat, back, planks, depth = v(0.55, 0.8), v(0.26, 0.34), v(0.25, 0.38), v.pick(2) + 2, v(0.08, 0.16)
    for x in (-width * 0.82, width * 0.82):
        pen.limb((x - depth / 2, 0.02), (x, seat + back), 0.06, DARK)
        pen.limb((x + depth, 0.02), (x + depth, seat), 0.06, DARK)
    for k in range(planks):
        y = seat + 0.09 + (back - 0.06) * k / (planks - 1)
        pen.limb((-width, y), (width, y), 0.5 * back / planks + 0.02, MAIN)
    near, far = seat - 0.06, seat + 0.03
    pen.polygon([(-width, far), (width, far), (width + depth, near), (-width + depth, near)], SECOND)
    pen.box(-width + depth, near - 0.05, width + depth, near, DARK)
    if v.chance(0.6):  # armrests
        for x in (-width * 0.82, width * 0.82):
            pen.path([(x, seat + 0.2), (x + depth, seat + 0.2), (x + depth, seat)], 0.05, ACCENT)


def sign(pen: Pen, v: Variation, phase: float) -> None:
    y, radius, shape, glyph = v(0.6, 0.75), v(0.19, 0.26), v.pick(4), v.pick(3)
    pen.limb((0, 0), (0, y + 0.1), v(0.035, 0.06), DARK)
    pen.box(-0.08, 0, 0.08, 0.04, DARK)
    corners = (20, 3, 8, 4)[shape]
    twist = pi / 2 + (pi / 8 if corners == 8 else 0)
    for scale, tone in ((radius, MAIN), (0.78 * radius, PALE)):
        angles = [twist + 2 * pi * k / corners for k in range(corners)]
        pen.polygon([(scale * cos(a), y + scale * sin(a)) for a in angles], tone, 0.4)
    if glyph == 0:
        pen.limb((-radius * 0.4, y), (radius * 0.4, y), 0.06, ACCENT)
    elif glyph == 1:
        pen.limb((0, y - radius * 0.35), (0, y + radius * 0.35), 0.06, ACCENT)
    else:
        pen.path([(-radius * 0.25, y - 0.05), (0.02, y + 0.08), (radius * 0.3, y - 0.05)], 0.045, ACCENT)
    if v.chance(0.4):
        pen.box(-radius * 0.8, y - radius - 0.16, radius * 0.8, y - radius - 0.04, SECOND)


def umbrella(pen: Pen, v: Variation, phase: float) -> None:
    radius, rise, gores, edge = v(0.4, 0.55), v(0.22, 0.34), v.pick(3) + 4, v(0.58, 0.68)
    x = 0.06 * sin(phase / 2)
    pen.limb((0, 0.06), (x, edge + rise), v(0.025, 0.045), DARK)
    if v.chance(0.5):  # a handle, or a foot
        pen.path([(0, 0.08), (0.04, 0.02), (0.1, 0.03), (0.11, 0.09)], 0.04, ACCENT)
    else:
        pen.ellipse((0, 0.04), (0.16, 0.04), DARK)
    for k in range(gores):
        left, right = (x - cos(pi * j / gores) * radius for j in (k, k + 1))
        hem = [(left + (right - left) * s, edge + 0.05 * sin(pi * s)) for s in (0, 0.25, 0.5, 0.75, 1)]
        rib = [(x + (right - x) * cos(a), edge + rise * sin(a)) for a in (0.3, 0.7, 1.1, pi / 2)]
        back = [(x + (left - x) * cos(a), edge + rise * sin(a)) for a in (1.1, 0.7, 0.3)]
        pen.polygon([*hem, *rib, *back], (MAIN, SECOND)[k % 2])
    pen.limb((x, edge + rise), (x, edge + rise + 0.06), 0.03, ACCENT)


def balloon(pen: Pen, v: Variation, phase: float) -> None:
    count = v.pick(3) + 1
    radius = v(0.2, 0.25) if count == 1 else v(0.14, 0.19)
    for k, tone in enumerate((MAIN, SECOND, ACCENT)[:count]):
        x = (k - (count - 1) / 2) * radius * v(1.3, 1.9) + 0.06 * sin(phase / 2 + 1.3 * k)
        y, tall = v(0.68, 0.8) + (0.08 if k == 1 else 0), radius * v(1.15, 1.35)
        knot = y - tall
        pen.path([(0, 0.02), (x * 0.3 + 0.05 * sin(phase / 2), 0.2), (x * 0.7 - 0.03, 0.4), (x, knot)], 0.018, DARK)
        pen.taper(x, (knot - 0.05, 0.04), (knot + 0.05 * tall, 0), tone)
        pen.ellipse((x, y), (radius, tall), tone)
        pen.ellipse((x, y - tall * 0.62), (radius * 0.6, tall * 0.4), tone)
        pen.ellipse((x - radius * 0.4, y + tall * 0.4), (radius * 0.16, tall * 0.26), PALE, tilt=-0.5, texture=0)


def lamp(pen: Pen, v: Variation, phase: float) -> None:
    width, height, kind, size, reach = v(0.035, 0.06), v(0.76, 0.86), v.pick(3), v(0.07, 0.1), v(0.14, 0.24)
    pen.taper(0, (0, 0.09), (0.13, 0.04), MAIN)
    pen.limb((0, 0.05), (0, height), width * 1.3, MAIN, width)
    pen.limb((-0.05, v(0.3, 0.5)), (0.05, 0.4), 0.03, SECOND)
    for x in ((0.0,), (reach,), (-reach, reach))[kind]:
        y = height - 0.14 if x else height + 0.02
        if x:
            pen.path([(0, height - 0.05), (x * 0.5, height + 0.07), (x, y + 0.16)], width, MAIN)
        pen.taper(x, (y, size * 0.6), (y + 0.14, size), PALE, 0)
        pen.limb((x, y), (x, y + 0.14), 0.02, DARK)
        pen.taper(x, (y + 0.14, size * 1.2), (y + 0.22, 0.02), SECOND)
        pen.disc((x, y + 0.23), 0.02, ACCENT)


def mailbox(pen: Pen, v: Variation, phase: float) -> None:
    width, low, top = v(0.2, 0.3), v(0.25, 0.45), v(0.72, 0.82)
    if v.chance(0.5):  # on a post, or on two legs
        pen.limb((0, 0.02), (0, low), v(0.07, 0.12), DARK)
        pen.box(-0.12, 0, 0.12, 0.04, DARK)
    else:
        for x in (-width * 0.75, width * 0.75):
            pen.limb((x, 0.02), (x, low), 0.07, DARK)
    pen.box(-width, low, width, top, MAIN)
    pen.fan((0, top - 0.005), (width, v(0.12, 0.22)), 0, pi, MAIN)
    pen.box(-width, low + 0.04, width, low + 0.09, SECOND)
    pen.limb((-width * 0.6, top), (width * 0.6, top), 0.055, DARK)
    pen.box(-width * 0.65, top - 0.24, width * 0.65, top - 0.08, PALE, 0)
    pen.path([(-width * 0.6, top - 0.09), (0, top - 0.17), (width * 0.6, top - 0.09)], 0.022, DARK)
    if v.chance(0.6):  # the flag
        x = width + 0.02
        pen.limb((x, top - 0.15), (x, top + 0.12), 0.03, DARK)
        pen.polygon([(x, top + 0.14), (x + 0.15, top + 0.09), (x, top + 0.03)], ACCENT)


def hydrant(pen: Pen, v: Variation, phase: float) -> None:
    width, top, arm = v(0.15, 0.21), v(0.62, 0.74), v(0.42, 0.54)
    pen.box(-width * 1.5, 0, width * 1.5, 0.07, DARK)
    for side in (-1, 1):
        cap = side * (width + 0.13)
        pen.limb((side * width * 0.8, arm), (side * (width + 0.1), arm), 0.13, SECOND)
        pen.box(cap - 0.035, arm - 0.1, cap + 0.035, arm + 0.1, DARK)
    pen.taper(0, (0.06, width * 1.1), (top, width), MAIN)
    pen.box(-width * 1.3, top - 0.03, width * 1.3, top + 0.04, SECOND)
    pen.fan((0, top + 0.03), (width * 1.1, v(0.15, 0.22)), 0, pi, MAIN)
    pen.box(-0.045, top + 0.17, 0.045, top + 0.28, ACCENT)
    pen.disc((0, arm - 0.02), v(0.08, 0.11), PALE)
    pen.disc((0, arm - 0.02), 0.045, DARK)
    pen.box(-width * 1.2, 0.12, width * 1.2, 0.17, SECOND)
