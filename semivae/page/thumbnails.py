"""Small pictures inside the page: WebP as data URIs."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass

import numpy as np
from PIL import Image

from semivae.page.looks import Picture

PIXELS_SEEN = 40  # pictures with a shorter side are enlarged without smoothing, and kept without loss


@dataclass(frozen=True)
class Thumbnails:
    """Makes them.

    Args:
        side: the longest height, in pixels; larger pictures are reduced.
        quality: of WebP, 0 to 100.
    """

    side: int = 128
    quality: int = 80

    def uri(self, picture: Picture) -> str:
        """A picture [height, width, 1 or 3] as a data URI."""
        image = Image.fromarray(np.ascontiguousarray(picture[..., 0] if picture.shape[-1] == 1 else picture))
        if image.height > self.side:
            image = image.resize((max(1, round(image.width * self.side / image.height)), self.side))
        data = io.BytesIO()
        image.save(data, format="WEBP", lossless=image.height <= PIXELS_SEEN, quality=self.quality, method=4)
        return f"data:image/webp;base64,{base64.b64encode(data.getvalue()).decode('ascii')}"


def shows_pixels(picture: Picture) -> bool:
    """Whether single pixels are to be seen, because there are few."""
    return len(picture) <= PIXELS_SEEN
