"""``usyncctl completion``: prints what a shell needs to complete commands, options and names."""

import os
import shlex

import click
from click.shell_completion import CompletionItem, ShellComplete, add_completion_class, get_completion_class

from usenetsyncd.cli.frame import Session, common
from usenetsyncd.cli.terminal import say
from usenetsyncd.cli.usyncctl import COMPLETE_VARIABLE

NAME = "usyncctl"
SHELLS = ("bash", "zsh", "fish", "powershell")

_POWERSHELL = """\
Register-ArgumentCompleter -Native -CommandName %(prog_name)s -ScriptBlock {
    param($word, $line, $position)
    $env:COMP_WORDS = $line.ToString()
    $env:COMP_WORD = $word
    $env:%(complete_var)s = "powershell_complete"
    %(prog_name)s | ForEach-Object {
        $value, $help = $_ -split "`t", 2
        if (-not $help) { $help = $value }
        [System.Management.Automation.CompletionResult]::new($value, $value, "ParameterValue", $help)
    }
    $env:COMP_WORDS = $null
    $env:COMP_WORD = $null
    $env:%(complete_var)s = $null
}
"""


class PowerShellComplete(ShellComplete):
    """click knows bash, zsh and fish."""

    name = "powershell"
    source_template = _POWERSHELL

    def get_completion_args(self) -> tuple[list[str], str]:
        """Words before the cursor, and the one at it."""
        words = shlex.split(os.environ.get("COMP_WORDS", ""), posix=False)[1:]
        word = os.environ.get("COMP_WORD", "")
        if word and words and words[-1] == word:
            words.pop()
        return words, word

    def format_completion(self, item: CompletionItem) -> str:
        """Value, tab, help."""
        return f"{item.value}\t{item.help}" if item.help else str(item.value)


add_completion_class(PowerShellComplete)


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
@common
def completion(session: Session, shell: str) -> None:
    """Completion for your shell.

    \b
    bash:        usyncctl completion bash > ~/.local/share/bash-completion/completions/usyncctl
    zsh:         usyncctl completion zsh > "${fpath[1]}/_usyncctl"
    fish:        usyncctl completion fish > ~/.config/fish/completions/usyncctl.fish
    powershell:  usyncctl completion powershell >> $PROFILE
    """
    text = script(shell)
    if not session.show({"shell": shell, "text": text}):
        say(text.rstrip("\n"))


def script(shell: str) -> str:
    """The text for one shell."""
    found = get_completion_class(shell)
    if found is None:
        raise AssertionError(shell)
    template = found.source_template
    name = f"_{NAME}_completion"
    return template % {"complete_func": name, "complete_var": COMPLETE_VARIABLE, "prog_name": NAME}
