"""Commands called inside this process, as tests/cli does."""

from tests.cli.conftest import call

__all__ = ["call"]
