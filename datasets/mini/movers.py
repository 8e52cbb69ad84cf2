"""Drawings of what walks, flies or rolls. `objects.py` states what a drawing is given."""

from math import cos, pi, sin

from longtake.datasets.mini.shapes import ACCENT, DARK, MAIN, PALE, SECOND, Pen, Point, Variation


def _leg(pen: Pen, hip: Point, length: float, swing: float, bend: float, width: float, tone: int) -> Point:
    """Two segments; `swing` is the thigh's angle from straight down, `bend` the knee's. Returns the foot."""
    knee = hip[0] + length / 2 * sin(swing), hip[1] - length / 2 * cos(swing)
    foot = knee[0] + length / 2 * sin(swing - bend), knee[1] - length / 2 * cos(swing - bend)
    pen.limb(hip, knee, width, tone, width * 0.85)
    pen.limb(knee, foot, width * 0.85, tone, width * 0.7)
    return foot


def _wheel(pen: Pen, center: Point, radius: float, phase: float, num_spokes: int, width: float) -> None:
    for k in range(num_spokes):
        angle = -phase + pi * k / num_spokes
        dx, dy = radius * cos(angle), radius * sin(angle)
        pen.limb((center[0] - dx, center[1] - dy), (center[0] + dx, center[1] + dy), width / 3, PALE)
    pen.ring(center, radius, width, DARK)
    pen.disc(center, radius * 0.16, ACCENT)


def person(pen: Pen, v: Variation, phase: float) -> None:
    hip, width, stride, limb, elbow = v(0.42, 0.5), v(0.065, 0.11), v(0.2, 0.6), v(0.07, 0.1), v(0.2, 1.0)
    trousers, shoulder, swing = (SECOND, ACCENT)[v.pick(2)], 0.8, stride * sin(phase)
    for side in (-1, 1):
        if side == 1:  # the trunk hides the far arm and leg
            if v.chance(0.35):  # a backpack
                pen.taper(-width - 0.065, (0.5, 0.065), (0.77, 0.05), ACCENT)
            pen.taper(0, (hip - 0.04, width), (shoulder, width * 1.1), MAIN)
            pen.limb((-width * 0.9, shoulder - 0.02), (width * 0.9, shoulder - 0.02), 0.07, MAIN)
        knee = 0.5 * stride * (1 - side * cos(phase))
        foot = _leg(pen, (side * 0.02, hip), hip - 0.03, side * swing, knee, limb, trousers)
        pen.limb(foot, (foot[0] + 0.07, foot[1] - 0.005), 0.06, DARK)
        if side == 1 and v.chance(0.35):  # a skirt or a coat
            pen.taper(0, (hip - 0.17, width * 1.8), (hip + 0.06, width), MAIN)
        hand = _leg(pen, (0, shoulder - 0.03), 0.36, -side * swing, -elbow, limb * 0.8, SECOND)
        pen.disc(hand, 0.035, PALE)
    _face(pen, v, (0.01, shoulder + 0.05), v(0.075, 0.11))


def _face(pen: Pen, v: Variation, neck: Point, size: float) -> None:
    x, y = neck[0], neck[1] + size
    pen.limb((x, neck[1] - 0.05), neck, 0.06, PALE)
    pen.ellipse((x, y), (size * 0.85, size), PALE, texture=0)
    pen.fan((x, y), (size * 0.95, size * 1.08), 0.15 * pi, v(1.0, 1.35) * pi, DARK)
    if v.chance(0.4):  # a hat
        pen.fan((x, y + size * 0.3), (size, size * 0.95), 0, pi, ACCENT)
        pen.limb((x - size, y + size * 0.35), (x + size * 1.6, y + size * 0.35), 0.03, ACCENT)
    pen.disc((x + size * 0.5, y), 0.013, DARK)


def dog(pen: Pen, v: Variation, phase: float) -> None:
    height, length, girth, stride = v(0.36, 0.5), v(0.26, 0.42), v(0.17, 0.27), v(0.2, 0.55)
    wag = v(0.6, 1.2) + 0.3 * sin(2 * phase)
    far, near = ((-length, pi), (length, 0.0)), ((-length, 0.0), (length, pi))
    for legs, tone in ((far, SECOND), (near, MAIN)):
        if tone == MAIN:
            tip = -length - v(0.15, 0.3) * cos(wag), height + 0.05 + v(0.18, 0.3) * sin(wag)
            pen.limb((-length - 0.03, height + 0.04), tip, 0.08, MAIN, 0.04)
            pen.limb((-length, height), (length, height + 0.03), girth, MAIN, girth * v(1.0, 1.2))
        for x, lag in legs:
            knee = 0.3 * stride * (1 + cos(phase + lag))
            foot = _leg(pen, (x, height - 0.02), height - 0.04, stride * sin(phase + lag), knee, 0.1, tone)
            pen.limb(foot, (foot[0] + 0.04, foot[1]), 0.07, DARK)
    x, y = length + v(0.12, 0.2), height + v(0.2, 0.32) + 0.02 * sin(phase)
    pen.limb((length, height + 0.03), (x, y), girth * 0.8, MAIN, 0.15)
    pen.limb((x, y), (x + v(0.16, 0.26), y - 0.04), 0.17, MAIN, 0.1)
    pen.disc((x + 0.23, y - 0.03), 0.035, DARK)
    if v.chance(0.5):  # hanging ears, or pointed ones
        pen.limb((x - 0.06, y + 0.05), (x - 0.1, y - 0.13), 0.09, SECOND, 0.07)
    else:
        pen.polygon([(x - 0.11, y + 0.04), (x + 0.02, y + 0.07), (x - 0.06, y + 0.2)], SECOND)
    pen.disc((x + 0.06, y + 0.03), 0.02, DARK)
    pen.limb((length + 0.02, height + 0.13), (length + 0.15, height + 0.06), 0.04, ACCENT)


def cat(pen: Pen, v: Variation, phase: float) -> None:
    """Sits, sways its tail and leans its head."""
    girth, head, top = v(0.2, 0.28), v(0.16, 0.21), v(0.53, 0.66)
    lean, sway = 0.03 * sin(phase / 3), 0.12 * sin(phase / 2)
    tail = [(-girth, 0.07), (-girth - 0.2, 0.08), (-girth - 0.33, 0.22 + sway / 2), (-girth - v(0.2, 0.4), 0.4 + sway)]
    pen.path(tail, 0.085, SECOND)
    pen.ellipse((-0.04, 0.26), (girth * 1.15, 0.26), MAIN)
    pen.limb((0, 0.3), (0.06 + lean, top), girth * 1.3, MAIN, girth)
    for x in (0.02, 0.14):
        pen.limb((x, 0.4), (x + 0.03, 0.05), 0.1, MAIN, 0.08)
        pen.ellipse((x + 0.06, 0.035), (0.065, 0.035), PALE)
    x, y = 0.09 + lean, top + head * 0.8
    for side in (-1, 1):
        ear, tip = x + side * head * 0.6, (x + side * head * 0.85, y + head * v(1.3, 1.7))
        pen.polygon([(ear - head * 0.42, y + head * 0.45), (ear + head * 0.42, y + head * 0.45), tip], MAIN)
    pen.ellipse((x, y), (head * 1.1, head), MAIN)
    for side in (-1, 1):
        pen.ellipse((x + side * head * 0.42, y + head * 0.1), (0.035, 0.045), DARK, texture=0)
        for drop in (-0.05, 0.02):
            cheek, end = (x + side * head * 0.4, y - head * 0.3), (x + side * head * 1.5, y - head * 0.3 + drop)
            pen.limb(cheek, end, 0.014, PALE)
    pen.ellipse((x, y - head * 0.3), (head * 0.4, head * 0.28), PALE, texture=0)
    pen.disc((x, y - head * 0.18), 0.025, ACCENT)


def bird(pen: Pen, v: Variation, phase: float) -> None:
    body, plump, beat, y, tail = v(0.28, 0.38), v(0.17, 0.25), v(0.5, 0.9) * sin(phase), v(0.45, 0.55), v(0.25, 0.42)
    flying = v.chance(0.5)
    y += 0.2 * flying
    pen.polygon([(-body * 0.6, y + 0.05), (-body - tail, y + 0.12), (-body - tail, y - 0.08)], SECOND)
    if flying:  # the far wing
        pen.polygon([(-0.12, y + 0.1), (0.14, y + 0.1), (-0.18, y + 0.1 + 0.5 * beat)], SECOND)
    else:
        for x in (-0.04, 0.07):
            pen.path([(x, y - plump * 0.8), (x + 0.02 * sin(phase), 0.02), (x + 0.1, 0.02)], 0.03, ACCENT)
    pen.ellipse((0, y), (body, plump), MAIN, tilt=v(0.1, 0.4))
    hx, hy = body * 0.85, y + plump * 0.9
    pen.polygon([(hx + 0.08, hy + 0.06), (hx + v(0.25, 0.36), hy - 0.01), (hx + 0.08, hy - 0.06)], ACCENT, 0)
    pen.disc((hx, hy), v(0.12, 0.16), MAIN)
    pen.disc((hx + 0.05, hy + 0.03), 0.028, DARK, 0)
    pen.ellipse((body * 0.35, y - plump * 0.35), (body * 0.5, plump * 0.5), PALE, tilt=0.4)
    if flying:
        tip = 0.12 + 0.55 * beat
        feathers = [(0.02, y + tip), (-0.14, y + tip * 1.1), (-0.26, y + tip * 0.9)]
        pen.polygon([(-0.2, y + 0.05), (0.18, y + 0.08), *feathers], SECOND)
    else:
        pen.polygon([(0.16, y + 0.09), (-0.05, y + 0.12), (-body - 0.1, y + 0.02), (-0.08, y - 0.1)], SECOND)


def bicycle(pen: Pen, v: Variation, phase: float) -> None:
    radius, base, tube = v(0.24, 0.31), v(0.33, 0.42), v(0.03, 0.05)
    rear, front, crank = (-base, radius), (base, radius), (-0.03, radius * 0.95)
    seat, head = (-base * v(0.4, 0.55), radius + v(0.28, 0.38)), (base * v(0.6, 0.75), radius + v(0.3, 0.4))
    for center in (rear, front):
        _wheel(pen, center, radius, phase, v.pick(3) + 3, v(0.035, 0.06))
    for start, end in ((rear, crank), (rear, seat), (crank, seat), (crank, head), (seat, head), (head, front)):
        pen.limb(start, end, tube, MAIN)
    dx, dy = 0.09 * cos(phase), -0.09 * sin(phase)
    pen.limb((crank[0] - dx, crank[1] - dy), (crank[0] + dx, crank[1] + dy), 0.025, DARK)
    pen.disc(crank, 0.05, SECOND)
    pen.limb(seat, (seat[0] - 0.015, seat[1] + 0.07), tube, DARK)
    pen.limb((seat[0] - 0.1, seat[1] + 0.09), (seat[0] + 0.07, seat[1] + 0.08), 0.05, DARK)
    bar = (head[0] - 0.02, head[1] + 0.1)
    pen.path([head, bar, (bar[0] + v(-0.12, 0.12), bar[1] + 0.03)], tube, SECOND)
    if v.chance(0.4):  # a basket
        pen.taper(head[0] + 0.125, (head[1] - 0.07, 0.065), (head[1] + 0.08, 0.095), ACCENT)


def car(pen: Pen, v: Variation, phase: float) -> None:
    length, belt, roof, wheel = v(0.7, 0.85), v(0.3, 0.36), v(0.5, 0.66), v(0.11, 0.15)
    front, back, post = length - v(0.28, 0.5), -length + v(0.05, 0.4), v(-0.1, 0.1)
    pen.polygon([(back, belt), (front, belt), (front - 0.2, roof), (back + 0.12, roof)], MAIN)
    pen.limb((-length + 0.06, belt - 0.03), (length - 0.06, belt - 0.05), 0.13, MAIN)
    pen.polygon([(-length, 0.1), (length, 0.1), (length, belt - 0.04), (-length, belt - 0.02)], MAIN)
    low, high = belt + 0.02, roof - 0.05
    pen.polygon([(back + 0.09, low), (post - 0.03, low), (post - 0.03, high), (back + 0.17, high)], PALE, 0)
    pen.polygon([(post + 0.03, low), (front - 0.07, low), (front - 0.22, high), (post + 0.03, high)], PALE, 0)
    pen.box(-length - 0.03, 0.1, length + 0.03, 0.15, DARK)
    pen.ellipse((length - 0.03, belt - 0.1), (0.05, 0.045), PALE, texture=0)
    pen.box(-length, belt - 0.14, -length + 0.06, belt - 0.05, ACCENT, 0)
    pen.limb((post + 0.08, belt - 0.06), (post + 0.16, belt - 0.06), 0.025, DARK)
    if v.chance(0.35):  # luggage
        pen.box(-0.35, roof, 0.2, roof + 0.04, DARK)
        pen.box(-0.28, roof + 0.04, 0.12, roof + v(0.1, 0.2), SECOND)
    dx, dy = wheel * 0.4 * cos(phase), wheel * 0.4 * sin(phase)
    for x in (-length * 0.6, length * 0.6):
        pen.disc((x, wheel), wheel, DARK)
        pen.disc((x, wheel), wheel * 0.55, SECOND)
        pen.limb((x - dx, wheel + dy), (x + dx, wheel - dy), 0.03, DARK)


def cart(pen: Pen, v: Variation, phase: float) -> None:
    width, body, roof, wheel = v(0.36, 0.48), v(0.2, 0.28), v(0.82, 0.98), v(0.13, 0.19)
    for x in (-width + 0.03, width - 0.03):
        pen.limb((x, body), (x, roof), 0.035, DARK)
    pen.limb((width, body + 0.2), (width + v(0.15, 0.28), body + 0.24), 0.04, DARK)
    for k in range(v.pick(3) + 3):
        pen.disc((-width * 0.7 + 0.13 * k, body + 0.27), v(0.05, 0.08), (ACCENT, PALE, SECOND)[k % 3])
    pen.box(-width, body - 0.07, width, body + 0.2, MAIN)
    pen.box(-width - 0.04, body + 0.19, width + 0.04, body + 0.24, SECOND)
    pen.box(-width * 0.6, body, width * 0.5, body + 0.12, PALE)
    stripes, low, high = v.pick(3) + 4, roof - v(0.1, 0.16), roof + 0.08
    for k in range(stripes):  # the awning and its scallops
        tone = (MAIN, PALE)[k % 2]
        x0, x1 = (-width - 0.07 + (2 * width + 0.14) * j / stripes for j in (k, k + 1))
        pen.polygon([(x0, low), (x1, low), (x1 * 0.8, high), (x0 * 0.8, high)], tone, 0.3)
        pen.fan(((x0 + x1) / 2, low + 0.005), ((x1 - x0) / 2, 0.05), pi, 2 * pi, tone, 0.3)
    _wheel(pen, (-width * 0.45, wheel), wheel, phase, 3, 0.04)
    if v.chance(0.5):
        _wheel(pen, (width * 0.5, wheel), wheel, phase, 3, 0.04)
    else:
        pen.limb((width * 0.7, body), (width * 0.75, 0.02), 0.05, DARK)


def stroller(pen: Pen, v: Variation, phase: float) -> None:
    radius, axle, seat = v(0.1, 0.17), v(0.24, 0.3), v(0.42, 0.5)
    pen.limb((-axle, radius), (axle * 0.9, seat), 0.04, DARK)
    pen.limb((axle, radius), (-axle * 0.9, seat), 0.04, DARK)
    grip = seat + v(0.28, 0.42)
    pen.path([(-axle * 0.9, seat), (-0.46, grip), (-0.56, grip + 0.01)], 0.04, DARK)
    pen.fan((0, seat + 0.05), (v(0.32, 0.4), v(0.22, 0.28)), pi, 2 * pi, MAIN)
    pen.box(-0.32, seat + 0.04, 0.34, seat + 0.09, SECOND)
    pen.disc((0.12, seat + 0.14), 0.085, PALE, 0)  # the child
    hood, fold = v(0.3, 0.36), v(0.55, 0.75) * pi / 3
    for k, tone in enumerate((ACCENT, SECOND, ACCENT)):
        pen.fan((0, seat + 0.07), (hood, hood), pi - fold * (k + 1), pi - fold * k, tone)
    for x in (-axle, axle):
        _wheel(pen, (x, radius), radius, phase, 3, 0.045)
