# SPDX-License-Identifier: BSD-3-Clause
"""`iavfio completion`: the script by which a shell completes the command line."""

from __future__ import annotations

import os
from typing import Any

import click
from click.shell_completion import (
    BashComplete,
    CompletionItem,
    FishComplete,
    ZshComplete,
    add_completion_class,
    get_completion_class,
    shell_complete,
    split_arg_string,
)

from iavfio.cli.candidates import PART
from iavfio.cli.group import Command, group
from iavfio.cli.options import Word
from iavfio.cli.printing import tell
from iavfio.errors import IavfioError

VARIABLE = "_IAVFIO_COMPLETE"
SHELLS = ("bash", "zsh", "fish")
STATUS = (
    'Example: eval "$(iavfio completion bash)" in ~/.bashrc; with zsh the same in ~/.zshrc; iavfio '
    "completion fish > ~/.config/fish/completions/iavfio.fish. Exit status: 0 done; 2 wrong use."
)
# Bash takes a word for ended at each of COMP_WORDBREAKS, among them the colons of PCI addresses and
# of vfio-user:, so the line is split here, and a reply is what comes after the last break.
BASH = """\
%(complete_func)s() {
    local kind value
    COMPREPLY=()
    while IFS=, read -r kind value; do
        case $kind in
        dir) compopt -o dirnames ;;
        file) compopt -o default ;;
        part) compopt -o nospace; COMPREPLY+=("$value") ;;
        plain) COMPREPLY+=("$value") ;;
        esac
    done < <(IAVFIO_LINE="${COMP_LINE:0:COMP_POINT}" IAVFIO_BREAKS="$COMP_WORDBREAKS" \\
        %(complete_var)s=bash_complete "$1" 2>/dev/null)
}
complete -F %(complete_func)s %(prog_name)s
"""


class Bash(BashComplete):
    """Completion for bash, of words with colons and equals signs too."""

    source_template = BASH
    _prefix = 0  # characters of the word that bash holds for another word

    def source(self) -> str:
        return self.source_template % self.source_vars()

    def get_completion_args(self) -> tuple[list[str], str]:
        line = os.environ.get("IAVFIO_LINE", "")
        words = split_arg_string(line)
        if not words or line[-1].isspace():
            words.append("")
        word = words[-1]
        if word.startswith("-") and "=" in word:
            word = word.partition("=")[2]  # an option's value is what is asked for
        breaks = os.environ.get("IAVFIO_BREAKS", "").replace("'", "").replace('"', "")
        self._prefix = max((word.rfind(each) + 1 for each in breaks), default=0)
        return words[1:-1], words[-1]

    def format_completion(self, item: CompletionItem) -> str:
        return f"{item.type},{item.value[self._prefix :]}"


class Zsh(ZshComplete):
    """Completion for zsh."""

    def format_completion(self, item: CompletionItem) -> str:
        return super().format_completion(_ended(item))


class Fish(FishComplete):
    """Completion for fish, of words and descriptions with commas too."""

    def source(self) -> str:
        return super().source().replace('string split ","', 'string split --max 1 ","')

    def format_completion(self, item: CompletionItem) -> str:
        return super().format_completion(_ended(item))


def _ended(item: CompletionItem) -> CompletionItem:
    """The item for a shell that cannot be told that a word goes on."""
    return CompletionItem(item.value) if item.type == PART else item


def answer() -> int:
    """Prints the words that a shell asks for by the environment variable; returns 0, 1 for no shell
    that is known. For a line that makes no sense there are none, and nothing is said about it.
    """
    _register()
    try:
        return shell_complete(group, {}, "iavfio", VARIABLE, os.environ[VARIABLE])
    except (click.ClickException, IavfioError):
        return 0


def _register() -> None:
    for kind in (Bash, Zsh, Fish):
        add_completion_class(kind)


@click.command("completion", cls=Command, status=STATUS)
@click.argument("shell", type=Word(SHELLS))
def command(shell: str) -> None:
    """Print the script by which SHELL completes iavfio's commands, options and words.

    It knows running ports, sockets of software VFs, PCI addresses of this host's VFs and the
    resources that Kubernetes gave, as they are when Tab is pressed.
    """
    _register()
    kind: Any = get_completion_class(shell)
    tell(kind(group, {}, "iavfio", VARIABLE).source().rstrip("\n"))
