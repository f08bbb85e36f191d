"""Collect the commands, run one, and turn every error into one line and an exit status.

No command ever shows a traceback. To see one, set STREAM_ROUTER_DEBUG=1.
"""

from __future__ import annotations

import importlib
import inspect
import os
import pkgutil
import sys
import traceback
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated

import typer
from ray.exceptions import RayError

from actors.errors import StreamRouterError
from router.cli import commands, exit_codes
from router.on_ray.signals import end_in_order_on_termination

DEBUG_VARIABLE = "STREAM_ROUTER_DEBUG"


_PANELS = ("See it work", "Load", "Providers", "Service")
"""The groups of commands in the help, in the order in which a newcomer wants them."""


def make_app() -> typer.Typer:
    """Return the application with every command in `commands/`."""
    app = typer.Typer(
        name="stream-router",
        help="Route the output streams of many concurrent LLM agents through Ray actors to live readers.\n\n"
        "A first look: stream-router demo. Each command says more, with examples: stream-router COMMAND --help.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )

    @app.callback()
    def stream_router(
        *,
        show_version: Annotated[
            bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Say the version and end.")
        ] = False,
    ) -> None:
        pass

    modules = [
        importlib.import_module(f"{commands.__name__}.{found.name}")
        for found in pkgutil.iter_modules(commands.__path__)
    ]
    for module in sorted(modules, key=lambda module: _PANELS.index(module.PANEL)):
        text = help_text(module.command.__doc__ or "", module.EXAMPLES)
        name = module.__name__.rpartition(".")[2].replace("_", "-")
        app.command(name, rich_help_panel=module.PANEL, help=text)(module.command)
    return app


def help_text(doc: str, examples: Sequence[str]) -> str:
    """Return a command's help: its paragraphs, each as one line for the terminal to break, and its examples."""
    paragraphs = [" ".join(paragraph.split()) for paragraph in inspect.cleandoc(doc).split("\n\n")]
    return "\n\n".join([*paragraphs, "Examples:", "\n".join(f"$ {example}" for example in examples)])


def main() -> None:
    """Run the command line; leaves with one of the exit statuses of `exit_codes`."""
    end_in_order_on_termination()
    try:
        status = make_app()(standalone_mode=False)
    except typer.TyperException as error:
        status = _say(_usage_text(error), exit_codes.ERROR)
    except StreamRouterError as error:
        status = _say(f"{error} [{error.code}]", exit_codes.ERROR, error)
    except (KeyboardInterrupt, typer.Abort):
        status = exit_codes.INTERRUPTED
    except OSError as error:
        status = _say(f"{error.filename or 'system'}: {error.strerror or error}", exit_codes.ERROR, error)
    except RayError as error:
        first_line = str(error).partition("\n")[0]
        status = _say(f"Ray failed under it ({type(error).__name__}): {first_line}", exit_codes.ERROR, error)
    except Exception as error:  # noqa: BLE001 - the last resort: no command shows a traceback
        text = f"unexpected {type(error).__name__}: {error}. This is a defect; {DEBUG_VARIABLE}=1 shows where"
        status = _say(text, exit_codes.INTERNAL, error)
    if status == exit_codes.INTERRUPTED:  # Typer turns some interrupts into this status by itself
        _say("interrupted", status)
    sys.exit(status if isinstance(status, int) else exit_codes.OK)


def _say(text: str, status: int, error: BaseException | None = None) -> int:
    if error is not None and os.environ.get(DEBUG_VARIABLE):
        traceback.print_exception(error)
    line = " ".join(text.split())
    sys.stderr.write(f"stream-router: {line}\n")
    return status


def _usage_text(error: typer.TyperException) -> str:
    """Return what is wrong with the arguments, and where help is."""
    context = getattr(error, "ctx", None)
    hint = f" (see {context.command_path} --help)" if context is not None else ""
    return f"{error.format_message() or 'a command is missing'}{hint}"


def _show_version(asked: bool) -> None:  # noqa: FBT001 - typer calls it
    if not asked:
        return
    try:
        number = version("agent-stream-router")
    except PackageNotFoundError:
        number = "unknown (not installed)"
    sys.stdout.write(f"stream-router {number}\n")
    raise typer.Exit
