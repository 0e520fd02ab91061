"""The command `taskclf-dagster`: the table of its commands, each of which is imported when it is used.

Commands print records; nothing is decided here.
"""

import gc
import os

import click

from taskclf_dagster.cli.command_summaries import SUMMARIES
from taskclf_dagster.cli.lazy_group import LazyGroup
from taskclf_dagster.domain.storage.json_files import has_half_character
from taskclf_dagster.entry_paths import make_environment_absolute
from taskclf_dagster.errors import TaskclfDagsterError
from taskclf_dagster.shown_text import show_block, show_line

COMMANDS = {
    "approve": "registry_commands:approve_command",
    "backtest": "backtest_command:backtest_command",
    "calibrate": "calibrate_command:calibrate_command",
    "check-retrain": "retrain_commands:check_retrain_command",
    "compare": "model_commands:compare_command",
    "config": "config_commands:config_group",
    "decide": "retrain_commands:decide_command",
    "demo": "demo_command:demo_command",
    "drill": "drill_command:drill_group",
    "drift": "drift_command:drift_command",
    "history": "history_command:history_command",
    "homes": "homes_command:homes_command",
    "init": "init_command:init_command",
    "list": "model_commands:list_command",
    "live": "live_command:live_command",
    "notify": "notify_command:notify_command",
    "prune": "registry_commands:prune_command",
    "registry": "registry_commands:registry_group",
    "replay-receipts": "replay_receipts_command:replay_receipts_command",
    "report": "report_command:report_command",
    "reproduce": "model_commands:reproduce_command",
    "retrain": "retrain_commands:retrain_command",
    "rollback": "registry_commands:rollback_command",
    "score": "score_command:score_command",
    "serve": "serve_command:serve_command",
    "status": "status_command:status_command",
    "study": "study_command:study_command",
    "suggest": "suggest_command:suggest_command",
    "trials": "trials_command:trials_command",
    "unblock": "registry_commands:unblock_command",
    "verify": "model_commands:verify_command",
}
"""Module and function of each command, below `taskclf_dagster.cli`; importing some of them takes seconds."""

GC_OBJECTS = 100_000
"""Number of new objects after which Python looks for unused ones; at its 700, that takes a fifth of a short command, all in imports."""


class _Group(LazyGroup):
    """Shows the package's own errors as one message instead of a traceback, without what a terminal would obey."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        damaged = [argument for argument in args if has_half_character(argument)]  # as Python reads bytes that are not UTF-8
        if damaged:
            raise click.UsageError(f"{show_line(damaged[0])} is not UTF-8. Write it in UTF-8.", ctx)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> object:
        gc.set_threshold(GC_OBJECTS)
        try:
            make_environment_absolute(os.environ)
            return super().invoke(ctx)
        except TaskclfDagsterError as error:
            raise click.ClickException(show_block(str(error))) from error
        except BrokenPipeError:
            raise  # what reads the output has ended, as `head` does: click ends without a word
        except OSError as error:
            message = f"{error}. What runs is as it was; `taskclf-dagster registry fsck` checks it."
            raise click.ClickException(show_block(message)) from error
        except click.UsageError as error:
            message = error.format_message()
            if show_block(message) != message:
                raise click.UsageError(show_block(message), error.ctx) from error
            raise


@click.group(
    cls=_Group,
    lazy=COMMANDS,
    package="taskclf_dagster.cli",
    summaries=SUMMARIES,
    invoke_without_command=True,
    subcommand_metavar="COMMAND [ARGS]...",
)
@click.version_option(package_name="taskclf-dagster")
@click.pass_context
def main(context: click.Context) -> None:
    """Keeps taskclf's activity classifier fresh.

    \b
    Try it on generated data:
      taskclf-dagster demo demo_home
      taskclf-dagster retrain --home demo_home
      taskclf-dagster serve --home demo_home    shows it in the browser

    On your own data, leave out --home. A model that passes every gate waits for your approval, unless auto_promote is set.
    """  # noqa: D301  # click wants the backspace character, which keeps the lines above apart
    if context.invoked_subcommand is None:
        from taskclf_dagster.cli.next_steps import show_next_steps
        from taskclf_dagster.cli.output import say_block

        show_next_steps()
        formatter = context.make_formatter()
        main.format_commands(context, formatter)
        say_block(formatter.getvalue().rstrip())


if __name__ == "__main__":
    main()
