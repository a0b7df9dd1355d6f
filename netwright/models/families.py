"""The families that come with netwright, by name. Each is a function of plain settings that returns a `Family`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from netwright.core.arguments import check_arguments
from netwright.core.errors import NetwrightError
from netwright.core.tables import Table, name_of

if TYPE_CHECKING:
    from netwright.models.family import Family

SPACES: Table[Callable[..., Family]] = Table(
    "Space",
    {
        "efficientnet-lite": "netwright.models.efficientnet_lite:efficientnet_lite",
        "mcunet": "netwright.models.mcunet:mcunet",
        "mobilenet-v3-small": "netwright.models.mobilenet:mobilenet_v3_small",
        "proxyless-small": "netwright.models.proxylessnas:proxyless_small",
        "tiny": "netwright.models.mobilenet:tiny",
        "ofa-mbv3-w1.0": "netwright.models.mobilenet:ofa_mobilenet_v3_w1_0",
        "ofa-mbv3-w1.2": "netwright.models.mobilenet:ofa_mobilenet_v3_w1_2",
        "ofa-proxyless-w1.3": "netwright.models.proxylessnas:ofa_proxyless",
        "ofa-resnet50": "netwright.models.resnet:ofa_resnet50",
        "vit": "netwright.models.vit:vit",
    },
)


def family(given: str | Callable[..., Family], **settings: Any) -> Family:
    """Return a family by name, FILE.py:FUNCTION, or a function that returns one.

    Raises:
        NetwrightError: an unknown name; settings that the function does not have, or of another type; or it returns
            something else.
    """
    function = SPACES.find(given)
    check_arguments(f"Space {name_of(given)!r}", function, settings)
    made = function(**settings)
    from netwright.models.family import Family  # torch, only where a family is made

    if not isinstance(made, Family):
        raise NetwrightError(f"Space {name_of(given)!r} returned a {type(made).__name__}; it must return a Family.")
    return made
