"""A group of commands whose modules are imported when a command is used, so that a quick command does not wait for the others' imports."""

from collections.abc import Mapping
from importlib import import_module

import click


class LazyGroup(click.Group):
    """A group that knows its commands by name, and imports each when it is run or described.

    Args:
        lazy: module and attribute of each command, as `module:attribute`.
        package: package of these modules.
        summaries: the first sentence of each command's description, so that listing the commands imports none of them.
        options: as for `click.Group`.
    """

    def __init__(self, *, lazy: Mapping[str, str], package: str, summaries: Mapping[str, str], **options: object) -> None:
        super().__init__(**options)  # type: ignore[arg-type]
        self._lazy, self._package, self._summaries = lazy, package, summaries

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Returns the names of all commands."""
        return sorted({*super().list_commands(ctx), *self._lazy})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Returns a command, for which its module is imported; None if there is none of this name."""
        if cmd_name in self._lazy and cmd_name not in self.commands:
            module, _, attribute = self._lazy[cmd_name].partition(":")
            self.add_command(getattr(import_module(f"{self._package}.{module}"), attribute), cmd_name)
        return super().get_command(ctx, cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the list of commands, as click does, from the summaries."""
        names = self.list_commands(ctx)
        limit = formatter.width - 6 - max(map(len, names), default=0)
        with formatter.section("Commands"):
            formatter.write_dl([(name, click.Command(name, help=self._summaries[name]).get_short_help_str(limit)) for name in names])
