"""Changes of recipes that make a training light, for tests that ask how it goes and not what it learns."""

from __future__ import annotations

DIGITS: dict[str, object] = {
    "streams.labelled.batch": 10,
    "streams.unlabelled.batch": 10,
    "streams.labels.batch": 10,
    "decoder.x.net.hidden": [16],
    "encoder.h.net.hidden": [16],
    "encoder.y.net.channels": [8, 8],
    "encoder.y.net.hidden": 16,
}
