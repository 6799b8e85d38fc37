"""Man pages, made from the commands themselves: ``python -m usenetsyncd.cli.manual DIR`` (``make man``).

One page for each program, with every command of it. Source: groff_man(7); only the macros that mandoc knows, too.
"""

import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from usenetsyncd import __version__
from usenetsyncd.cli.usenetsyncd import usenetsyncd
from usenetsyncd.cli.usyncctl import usyncctl

SECTION = 1
_VERBATIM = "\b"
_EXAMPLE = re.compile(r"Example: (.+)", re.DOTALL)
_CODES = re.compile(r"Exit codes: (.+?)\.?", re.DOTALL)
_CODE = re.compile(r"(?:^|, |; )(\d+)(?:: | )")

ENVIRONMENT = {
    "usyncctl": {
        "USENETSYNCD_SOCKET": "The daemon's control socket, where --socket is not given.",
        "NO_COLOR": "Anything in it: no colours.",
    },
    "usenetsyncd": {
        "USENETSYNCD_...": "Overrides a setting; usyncctl config show --origin tells which value came from where.",
        "CREDENTIALS_DIRECTORY": "Where systemd puts credentials (LoadCredential=); they go before the vault's.",
    },
}
FILES = {
    "/etc/usenetsyncd/usenetsyncd.yaml": "The configuration of the system service.",
    "~/.config/usenetsyncd/usenetsyncd.yaml": "The configuration of a user's own daemon.",
    "/var/lib/usenetsyncd": "Catalogue, vault and backups of the system service. Keep the vault: it holds the keys.",
}


def pages() -> dict[str, str]:
    """File name -> man page."""
    return {
        f"{name}.{SECTION}": "\n".join(_page(name, command)) + "\n"
        for name, command in (("usyncctl", usyncctl), ("usenetsyncd", usenetsyncd))
    }


def _page(name: str, program: click.Group) -> Iterator[str]:
    context = click.Context(program, info_name=name)
    told = _paragraphs(program)
    yield f'.\\" Made by `make man` from the help of {name}; edit that instead.'
    yield f'.TH {name.upper()} {SECTION} "" "UsenetSync {__version__}" "UsenetSync"'
    yield ".SH NAME"
    yield f"{name} \\- {_text(told[0].rstrip('.')[0].lower() + told[0].rstrip('.')[1:])}"
    yield ".SH SYNOPSIS"
    yield f".B {name}"
    yield "[OPTION]... COMMAND [ARGUMENT]..."
    yield ".SH DESCRIPTION"
    yield from _prose([one for one in told if not _CODES.fullmatch(one)], first=True)
    yield from _options(program, context)
    yield ".SH COMMANDS"
    for path, command, inner in _commands(program, context):
        yield from _command(path, command, inner)
    codes = [one for one in told if _CODES.fullmatch(one)]
    if codes:
        yield ".SH EXIT STATUS"
        yield from _exit_codes(codes[0])
    yield ".SH ENVIRONMENT"
    yield from _terms(ENVIRONMENT[name])
    yield ".SH FILES"
    yield from _terms(FILES)
    yield ".SH SEE ALSO"
    other = "usenetsyncd" if name == "usyncctl" else "usyncctl"
    yield f".BR {other} ({SECTION})"


def _commands(
    group: click.Group, context: click.Context, before: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command, click.Context]]:
    """Every command that can be called, in the order of the help; of groups, what is in them."""
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if command is None or command.hidden:
            continue
        inner = click.Context(command, info_name=name, parent=context)
        if isinstance(command, click.Group):
            if command.invoke_without_command:
                yield (*before, name), command, inner
            yield from _commands(command, inner, (*before, name))
        else:
            yield (*before, name), command, inner


def _command(path: tuple[str, ...], command: click.Command, context: click.Context) -> Iterator[str]:
    words = [*path, *(_argument(one) for one in command.params if isinstance(one, click.Argument))]
    yield f'.SS "{_quoted(" ".join(words))}"'
    yield from _prose(_paragraphs(command), first=True)
    yield from _options(command, context)


def _argument(argument: click.Argument) -> str:
    shown = argument.metavar or (argument.name or "").upper()
    shown += "..." if argument.nargs != 1 and not shown.endswith("...") else ""
    return shown if argument.required or shown.startswith("[") else f"[{shown}]"


def _options(command: click.Command, context: click.Context) -> Iterator[str]:
    # Not click's own records of options: they differ from one version of it to the next.
    for option in command.params:
        # --json and --socket are those of every command: told once, at the top.
        everywhere = context.parent is not None and option.name in ("json", "socket")
        if not isinstance(option, click.Option) or option.hidden or everywhere:
            continue
        yield ".TP"
        yield f".B {_text(_spelling(option))}"
        default = f" [default: {option.default}]" if option.show_default else ""
        yield _text((option.help or "") + default) or "\\&"


def _spelling(option: click.Option) -> str:
    names = ", ".join(option.opts)
    if option.secondary_opts:
        names += " / " + ", ".join(option.secondary_opts)
    if option.is_flag:
        return names
    choices = "|".join(map(str, option.type.choices)) if isinstance(option.type, click.Choice) else ""
    number = "N" if isinstance(option.type, click.types.IntParamType | click.types.FloatParamType) else ""
    return f"{names} {option.metavar or choices or number or (option.name or '').upper()}"


def _paragraphs(command: click.Command) -> list[str]:
    """Of the help; one that stands as it is begins with a backspace, as in click."""
    parts = re.split(r"\n\s*\n", inspect.cleandoc(command.help or "").split("\f")[0])
    return [part if part.startswith(_VERBATIM) else " ".join(part.split()) for part in parts if part.strip()]


def _prose(paragraphs: list[str], first: bool) -> Iterator[str]:
    for paragraph in paragraphs:
        if not first:
            yield ".PP"
        first = False
        example = _EXAMPLE.fullmatch(paragraph)
        if paragraph.startswith(_VERBATIM):
            yield ".nf"
            yield from (_text(line) for line in paragraph.removeprefix(_VERBATIM).strip("\n").split("\n"))
            yield ".fi"
        elif example:
            yield "Example:"
            yield f".B {_text(example[1])}"
        else:
            yield _text(paragraph)


def _exit_codes(paragraph: str) -> Iterator[str]:
    found = _CODES.fullmatch(paragraph)
    parts = _CODE.split(found[1])[1:] if found else []
    yield from _terms(dict(zip(parts[::2], parts[1::2], strict=True)))


def _terms(terms: dict[str, str]) -> Iterator[str]:
    for term, meaning in terms.items():
        yield ".TP"
        yield f".B {_text(term)}"
        yield _text(meaning)


def _text(plain: str) -> str:
    """As groff must read it to print just that."""
    escaped = plain.replace("\\", "\\e").replace("-", "\\-").replace("~", "\\(ti").replace("^", "\\(ha")
    escaped = escaped.replace("`", "\\(ga")
    return "\\&" + escaped if escaped[:1] in (".", "'") else escaped


def _quoted(plain: str) -> str:
    return _text(plain).replace('"', "\\(dq")


def main(directory: Path) -> None:
    """Write the pages."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (directory / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
