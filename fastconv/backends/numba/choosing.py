"""The largest entries along an axis, and boxes that do not overlap: heaps of keys and places."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastconv.backends.manifest.moves import Suppress, TopK
from fastconv.backends.numba.engine import array, kernel, part

_LINES = TopK.LINES


def _make_sort(integer: Any) -> Any:
    """Make what sorts keys by falling size, equal ones by place, within their own memory."""

    @part
    def sink(keys, places, start, count):  # type: ignore[no-untyped-def]
        """Let an entry fall to where those below it come later than it does."""
        key, place = keys[start], places[start]
        at = start
        while True:
            below = 2 * at + 1
            if below >= count:
                break
            other = below + 1
            if other < count and (
                keys[other] < keys[below]
                or (keys[other] == keys[below] and places[other] > places[below])
            ):
                below = other
            # The last of all is on top.
            if keys[below] > key or (keys[below] == key and places[below] < place):
                break
            keys[at], places[at] = keys[below], places[below]
            at = below
        keys[at], places[at] = key, place

    @part
    def sort(keys, places, count):  # type: ignore[no-untyped-def]
        for back in range(count // 2):
            sink(keys, places, count // 2 - 1 - back, count)
        for back in range(count - 1):
            last = count - 1 - back
            keys[0], keys[last] = keys[last], keys[0]
            places[0], places[last] = places[last], places[0]
            sink(keys, places, 0, last)

    return sink, sort


@kernel(TopK)
def topk(name: str):  # type: ignore[no-untyped-def]
    """Choose from lines: a work item is one, or some of an axis that is not the last."""
    real, size = np.dtype(name).type, np.dtype(name).itemsize
    integer = np.dtype(f"int{8 * size}").type
    most, infinite = integer(np.iinfo(integer).max), np.array(np.inf, real).view(integer)[()]
    sink, sort = _make_sort(integer)

    @part
    def key_of(bits, flip):  # type: ignore[no-untyped-def]
        size = integer(bits & most)
        key = -size if bits < 0 else size
        if size > infinite:
            key = most
        return integer(key ^ flip)

    @part
    def choose(line, step, length, wanted, flip, keys, places):  # type: ignore[no-untyped-def]
        for i in range(wanted):
            keys[i], places[i] = key_of(line[i * step], flip), i
        for back in range(wanted // 2):
            sink(keys, places, wanted // 2 - 1 - back, wanted)
        for i in range(wanted, length):
            key = key_of(line[i * step], flip)
            if wanted > 0 and key > keys[0]:
                keys[0], places[0] = key, i
                sink(keys, places, 0, wanted)

    def body(args, first, last, worker):  # type: ignore[no-untyped-def]
        length, inner, wanted = args.length, args.inner, args.count
        blocks = (inner + _LINES - 1) // _LINES
        room = args.room
        flip = integer(0 if args.largest else -1)
        base = args.scratch_base + worker * args.scratch_stride
        keys = array(base, (room,), integer)
        places = array(base + room * size, (room,), np.int32)
        for item in range(first, last):
            outer, block = divmod(item, blocks)
            for column in range(block * _LINES, min((block + 1) * _LINES, inner)):
                start = (outer * length * inner + column) * size
                bits = array(args.source + start, (length * inner,), integer)
                choose(bits, inner, length, wanted, flip, keys, places)
                if args.ordered:
                    sort(keys, places, wanted)
                else:
                    for i in range(wanted):
                        keys[i] = integer(-places[i])
                    sort(keys, places, wanted)
                first_out = outer * wanted * inner + column
                values = array(args.values + first_out * size, (wanted * inner,), integer)
                found = array(args.places + first_out * 8, (wanted * inner,), np.int64)
                for i in range(wanted):
                    values[i * inner] = bits[places[i] * inner]
                    found[i * inner] = places[i]

    return body


@kernel(Suppress)
def suppress(name: str):  # type: ignore[no-untyped-def]
    """Choose boxes: a work item is a class of an image."""
    real, integer = np.float32, np.int32
    most_key, infinite = np.int32(np.iinfo(np.int32).max), np.int32(0x7F800000)
    lowest = np.int32(np.iinfo(np.int32).min)
    _, sort = _make_sort(integer)

    @part
    def edges(box, centers):  # type: ignore[no-untyped-def]
        a, b, c, d = box[0], box[1], box[2], box[3]
        if centers:
            half_c, half_d = c / real(2), d / real(2)
            return a - half_c, b - half_d, a + half_c, b + half_d
        return (
            a if a < c else c,
            b if b < d else d,
            c if a < c else a,
            d if b < d else b,
        )

    @part
    def overlaps(box, other, limit):  # type: ignore[no-untyped-def]
        width = min(box[2], other[2]) - max(box[0], other[0])
        height = min(box[3], other[3]) - max(box[1], other[1])
        if not (width > 0 and height > 0):
            return False
        shared = width * height
        area = (box[2] - box[0]) * (box[3] - box[1])
        its = (other[2] - other[0]) * (other[3] - other[1])
        both = its + area - shared
        met = shared > 0 and area > 0 and its > 0 and both > 0
        return met and shared / both > limit

    def body(args, first, last, worker):  # type: ignore[no-untyped-def]
        count, most, centers = args.box_count, args.most, args.centers
        base = args.scratch_base + worker * args.scratch_stride
        keys = array(base, (count,), integer)
        places = array(base + 4 * count, (count,), integer)
        limit, least = real(args.overlap), real(args.least)
        for item in range(first, last):
            image = item // args.classes
            boxes = array(args.boxes + image * count * 16, (count, 4), real)
            scores = array(args.scores + item * count * 4, (count,), real)
            bits = array(args.scores + item * count * 4, (count,), integer)
            chosen = array(args.chosen + item * most * 8, (most,), np.int64)
            candidates = 0
            for i in range(count):
                if args.has_least and not scores[i] > least:
                    continue
                size = integer(bits[i] & most_key)
                key = integer(-size) if bits[i] < 0 else size
                keys[candidates] = lowest if size > infinite else key
                places[candidates] = i
                candidates += 1
            sort(keys, places, candidates)
            have = 0
            for i in range(candidates):
                if have == most:
                    break
                box = edges(boxes[places[i]], centers)
                found = False
                for k in range(have):
                    if overlaps(box, edges(boxes[chosen[k]], centers), limit):
                        found = True
                        break
                if not found:
                    chosen[have] = places[i]
                    have += 1
            array(args.counts + item * 8, (1,), np.int64)[0] = have
            for k in range(have, most):
                chosen[k] = 0

    return body
