# SPDX-License-Identifier: BSD-3-Clause
"""`iavfio vf`: the VFs of a card's PF, or of a software PF, as their administrator sees them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import click

from iavfio.arguments import counted, nearest
from iavfio.cli import candidates
from iavfio.cli.group import Command
from iavfio.cli.printing import definition, tell, tell_record

if TYPE_CHECKING:
    from iavfio.vfs import Changed, Pf, VfState

STATUS = (
    "Example: iavfio vf ens1f0 set 0 trust on spoofchk off. Exit status: 0 done; 1 the kernel or "
    "the PF refused or ignored a change, or root is needed; 2 wrong use, also a PF or VF that does "
    "not exist; 130 Ctrl-C; 143 SIGTERM."
)
ACTIONS = ("list", "create", "destroy", "set", "undo")


def _offered(context: click.Context, option: click.Parameter, text: str) -> candidates.Items:
    """Behind `set VF`: names of settings that do not stand there yet, and the values of one."""
    from iavfio.vfs.words import WORDS

    before = context.params.get("words") or ()
    if context.params.get("action") != "set" or not before:
        return []
    if len(before) % 2:
        return candidates.words([name for name in WORDS if name not in before[1::2]], text)
    word = WORDS.get(before[-1])
    return candidates.words(word.values if word else (), text)


@click.command(
    "vf",
    cls=Command,
    needs=("iavfio.vfs",),
    status=STATUS,
)
@click.argument("pf", metavar="PF", shell_complete=candidates.pf)
@click.argument(
    "action",
    metavar="[ACTION]",
    default="list",
    shell_complete=lambda ctx, param, text: candidates.words(ACTIONS, text),
)
@click.argument("words", metavar="[WORD]...", nargs=-1, shell_complete=_offered)
@click.option("--force", is_flag=True, help="Destroy VFs that are in use as well.")
@click.option("-n", "--dry-run", is_flag=True, help="Show each change, make none.")
@click.option("-v", "--verbose", is_flag=True, help="Show each change as it is made.")
@click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object; see 'iavfio schema vf'."
)
def command(
    pf: str,
    action: str,
    words: tuple[str, ...],
    force: bool,
    dry_run: bool,
    verbose: bool,
    as_json: bool,
) -> None:
    """List, make and set up the VFs of PF, each change read back.

    PF is a PCI address, its interface, or the directory of a software PF. ACTION:

    \b
    list                 settings of all
    create N             make N VFs
    destroy              remove all VFs
    set VF NAME VALUE... change settings
      mac ADDRESS|none
      vlan 0..4094       port VLAN; 0: no
      qos 0..7           its priority
      trust on|off
      spoofchk on|off
      link auto|enable|disable
      rate MBIT          most it may send
      min-rate MBIT      kept for it
    undo                 put all back

    What was there before the first change is recorded, until 'undo' or the next boot. A software PF
    has neither qos nor min-rate, and the VFs that it was started with.
    """
    from iavfio.host import LinuxKernel, Tree
    from iavfio.vfs import find

    if action not in ACTIONS:
        close = nearest(action, ACTIONS)
        hint = f"did you mean {close}?" if close else f"choose of {', '.join(ACTIONS)}"
        raise click.UsageError(f"there is no action {action!r}; {hint}")
    wanted = _arguments(action, words)
    found = find(Tree(), pf, LinuxKernel(), force=force)
    if action == "list":
        _list(found, as_json)
        return
    run = _Run(found, dry_run, (verbose or dry_run) and not as_json, as_json)
    run.command = " ".join(["vf", found.name, action, *words] + ["--force"] * force)
    run.act(action, wanted)


def _arguments(action: str, words: Sequence[str]) -> tuple[int, dict[str, bool | int | str]]:
    """The number that `create` and `set` take, and settings."""
    from iavfio.vfs import parse

    if action in ("list", "destroy", "undo"):
        if words:
            raise click.UsageError(f"{action} takes nothing more, not {words[0]!r}")
        return 0, {}
    what = "the number of VFs" if action == "create" else "the number of a VF"
    example = "create 2" if action == "create" else "set 0 trust on"
    if not words:
        raise click.UsageError(f"{action} needs {what}, as in: iavfio vf PF {example}")
    low = 1 if action == "create" else 0
    text = words[0]
    if not (text.isascii() and text.isdecimal() and len(text) < 6 and int(text) >= low):
        raise click.UsageError(f"{text!r} is not {what}, as in: iavfio vf PF {example}")
    if action == "create":
        if len(words) > 1:
            raise click.UsageError(f"create takes one number, and nothing as {words[1]!r}")
        return int(text), {}
    return int(text), parse(words[1:])


class _Run:
    """One change, told as text or as JSON."""

    def __init__(self, pf: Pf, dry: bool, loud: bool, as_json: bool) -> None:
        self._pf, self._dry, self._json = pf, dry, as_json
        self._report: Callable[[str], None] = _indented if loud else lambda line: None
        self.command = "vf"

    def act(self, action: str, wanted: tuple[int, dict[str, bool | int | str]]) -> None:
        number, settings = wanted
        if action == "set":
            self._set(number, settings)
        elif action == "undo":
            self._undo()
        else:
            self._resize(number)

    def _set(self, vf: int, settings: dict[str, bool | int | str]) -> None:
        from iavfio.vfs import apply

        there = len(self._pf.vfs()) if self._json else 0
        done = apply(self._pf, vf, settings, self._report, dry=self._dry, command=self.command)
        if self._json:
            self._tell_json(there, there, done)
        for each in () if self._json else done:
            tell(_would(each, str(each)) if self._dry else str(each))

    def _resize(self, number: int) -> None:
        from iavfio.vfs.undo import resize

        was = resize(self._pf, number, self._report, dry=self._dry, command=self.command)
        if self._json:
            self._tell_json(was, number, [])
        elif was == number:
            tell(f"{self._pf.name} has {counted(number, 'VF')} already")
        else:
            verb = "would have" if self._dry else "has"
            tell(f"{self._pf.name} {verb} {counted(number, 'VF')} (was: {was})")
            for state in [] if self._dry else self._pf.vfs():
                tell(_line(state))

    def _undo(self) -> None:
        from iavfio.vfs import undo

        done = undo(self._pf, self._report, dry=self._dry, command=self.command)
        if self._json:
            self._tell_json(done.number_before, done.number, done.changed)
            return
        if not done.recorded:
            tell(f"{self._pf.name}: nothing to undo, no change that iavfio made is recorded")
            return
        if done.number != done.number_before:
            verb = "would have" if self._dry else "has"
            tell(
                f"{self._pf.name} {verb} {counted(done.number, 'VF')} again "
                f"(was: {done.number_before})"
            )
        for each in done.changed:
            tell(_would(each, each.undone) if self._dry else each.undone)
        if not done.changed and done.number == done.number_before:
            tell(f"{self._pf.name}: nothing to undo, all is as before the first change")

    def _tell_json(self, was: int, now: int, done: Sequence[Changed]) -> None:
        from iavfio.vfs.records import ChangedRecord, ChangeRecord

        changed = [
            ChangedRecord(each.vf, each.setting, each.before, each.after, each.verified)
            for each in done
        ]
        record = ChangeRecord(self._pf.name, self._dry, was, now, changed)
        tell_record(record)


def _list(pf: Pf, as_json: bool) -> None:
    facts, states = pf.describe(), pf.vfs()
    if as_json:
        from iavfio.vfs.records import PfRecord

        record = PfRecord(**facts, vfs=states)
        tell_record(record)
        return
    name = f" {facts['interface']}" if facts["interface"] else ""
    driver = facts["driver"] or "no driver"
    tell(f"{facts['pf']}{name} ({driver}): {len(states)} of {counted(facts['max_vfs'], 'VF')}")
    for state in states:
        tell(_line(state))


def _line(state: VfState) -> str:
    from iavfio.vfs.words import WORDS, shown

    told = [f"{name} {shown(name, state.value(name))}" for name in WORDS if _shows(name, state)]
    who = state.bdf + (f" ({state.driver})" if state.driver else "")
    return definition(f"VF {state.vf}", ", ".join([who, *told]))


def _shows(name: str, state: VfState) -> bool:
    """Whether a setting is worth its place: qos and min-rate where they are set."""
    value = state.value(name)
    if name in ("qos", "min-rate"):
        return bool(value)
    return value is not None or name == "mac"  # of which one wants to know that nobody tells


def _would(each: Changed, told: str) -> str:
    """The words of a dry run, which verifies nothing."""
    told = told.partition(";")[0]
    return told if each.before == each.after else f"{told} - not made"


def _indented(line: str) -> None:
    for each in line.splitlines():
        tell(f"  {each}")
