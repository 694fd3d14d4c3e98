"""The reference of the command line, from the commands themselves."""

from __future__ import annotations

from collections.abc import Iterator

import click

from prebuilds.cli.app import COMMANDS, prebuilds

from .markdown import table


def command_line_page() -> str:
    """A section for each command, in the order of `prebuilds --help`."""
    text = "# Command line reference\n\nGenerated from the commands. `prebuilds COMMAND --help` prints the same.\n"
    root = click.Context(prebuilds, info_name="prebuilds", **prebuilds.context_settings)
    for section, commands in COMMANDS.items():
        text += f"\n## {section}\n"
        for name in commands:
            command = prebuilds.get_command(root, name)
            if command is not None:
                text += "".join(_sections(command, click.Context(command, info_name=name, parent=root)))
    return text


def _sections(command: click.Command, context: click.Context) -> Iterator[str]:
    usage = " ".join(command.collect_usage_pieces(context))
    text = f"\n### {context.command_path}\n\n```text\n{context.command_path} {usage}\n```\n\n{_prose(command.help)}\n"
    options = table(
        ("option", "meaning"),
        [
            _row(each, context)
            for each in command.get_params(context)
            if isinstance(each, click.Option) and not each.hidden
        ],
    )
    yield text + (f"\n{options}" if options else "") + (f"\n{_prose(command.epilog)}\n" if command.epilog else "")
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            if below is not None and not below.hidden:
                yield from _sections(below, click.Context(below, info_name=name, parent=context))


def _row(option: click.Option, context: click.Context) -> tuple[str, str]:
    names, meaning = option.get_help_record(context) or ("", "")
    return f"`{names}`", meaning


def _prose(text: str | None) -> str:
    """Help text as Markdown: its paragraphs, with examples as code."""
    paragraphs = [" ".join(each.split()) for each in (text or "").replace("\b", "").split("\n\n")]
    shown: list[str] = []
    for each in paragraphs:
        before, example, command = each.partition("Example: ")
        shown.append(f"Example: `{command}`" if example and not before else each.replace("<", "&lt;"))
    return "\n\n".join(shown)
