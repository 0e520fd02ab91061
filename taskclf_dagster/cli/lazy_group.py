"""A group of commands whose modules are imported when a command is used, so that a quick command does not wait for the others' imports."""

from collections.abc import Mapping
from importlib import import_module

import click


class LazyGroup(click.Group):
    """A group that knows its commands by name, and imports each when it is run or described.

    Args:
        lazy: module and attribute of each command, as `module:attribute`.
        package: package of these modules.
        options: as for `click.Group`.
    """

    def __init__(self, *, lazy: Mapping[str, str], package: str, **options: object) -> None:
        super().__init__(**options)  # type: ignore[arg-type]
        self._lazy, self._package = lazy, package

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Returns the names of all commands."""
        return sorted({*super().list_commands(ctx), *self._lazy})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Returns a command, for which its module is imported; None if there is none of this name."""
        if cmd_name in self._lazy and cmd_name not in self.commands:
            module, _, attribute = self._lazy[cmd_name].partition(":")
            self.add_command(getattr(import_module(f"{self._package}.{module}"), attribute), cmd_name)
        return super().get_command(ctx, cmd_name)
