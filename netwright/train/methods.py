"""The methods that come with netwright, by the name a recipe gives them."""

from __future__ import annotations

from netwright.train.method import Method
from netwright.train.progressive import PROGRESSIVE
from netwright.train.random_sampling import RANDOM
from netwright.train.sandwich import SANDWICH
from netwright.train.static import STATIC

METHODS: dict[str, Method] = {
    "progressive": PROGRESSIVE,
    "sandwich": SANDWICH,
    "random": RANDOM,
    "static": STATIC,
}
