"""The methods that come with netwright, by the name a recipe gives them."""

from __future__ import annotations

from netwright.training.method import Method
from netwright.training.methods.progressive import PROGRESSIVE
from netwright.training.methods.random_sampling import RANDOM
from netwright.training.methods.sandwich import SANDWICH
from netwright.training.methods.static import STATIC

METHODS: dict[str, Method] = {
    "progressive": PROGRESSIVE,
    "sandwich": SANDWICH,
    "random": RANDOM,
    "static": STATIC,
}
