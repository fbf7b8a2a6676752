# SPDX-License-Identifier: BSD-3-Clause
"""What deploy/ has: its commands exist with these options, and its facts are those of the code.

No image is built and no cluster is asked: what reads these files where it is installed is kubectl
(without a server) and systemd-analyze.
"""

from __future__ import annotations

import configparser
import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest
import yaml

from iavfio.cli.group import group
from iavfio.doctor.permissions import RULE
from iavfio.fleet.read import read_plan
from iavfio.host.models import adaptive_vfs
from iavfio.linuxpf.cache import cache_dir

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))


class Unit(configparser.RawConfigParser):
    """A unit file; of a key that is given twice the last value stays."""

    def __init__(self, path: Path) -> None:
        super().__init__(strict=False, delimiters="=", comment_prefixes="#", interpolation=None)
        self.read_string(path.read_text(encoding="utf-8"))

    def optionxform(self, optionstr: str) -> str:
        return optionstr


def check(words: list[str]) -> None:
    """Fails unless these words are a command with options that it has."""
    command = group.get_command(click.Context(group), words[0])
    assert command is not None, words
    known = {name for option in command.params for name in option.opts}
    for word in words[1:]:
        if word.startswith("-"):
            assert word.partition("=")[0] in known, (words, word)


def instructions() -> list[tuple[str, str]]:
    """(instruction, the rest of it) of the Dockerfile."""
    text = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ").splitlines()
    return [(first, rest) for first, _, rest in (line.partition(" ") for line in joined)]


def test_the_image_has_no_compiler_and_its_user_is_not_root() -> None:
    steps = instructions()
    stages = [number for number, (word, _) in enumerate(steps) if word == "FROM"]
    assert len(stages) == 2 and {word for word, _ in steps[: stages[0]]} == {"ARG"}
    last = steps[stages[1] :]
    assert [rest for word, rest in last if word == "COPY"] == ["--from=wheel /wheels /wheels"]
    assert not [rest for word, rest in last if word == "RUN" and "apt-get" in rest]
    user = next(rest for word, rest in last if word == "USER")
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)  # a number: runAsNonRoot cannot check a name
    command = dict(last)
    assert json.loads(command["ENTRYPOINT"]) == ["iavfio"]
    assert json.loads(command["CMD"]) == ["--help"]
    assert "IAVFIO_RUNTIME_DIR=/run/iavfio" in shlex.split(command["ENV"])


def test_the_device_plugin_takes_every_vf_that_iavfio_drives() -> None:
    text = (DEPLOY / "kubernetes" / "device-plugin.yaml").read_text(encoding="utf-8")
    (resource,) = json.loads(text.partition("config.json: |\n")[2])["resourceList"]
    (selector,) = resource["selectors"]
    assert selector["vendors"] == ["8086"] and selector["drivers"] == ["vfio-pci"]
    assert {int(device, 16) for device in selector["devices"]} == adaptive_vfs()
    name = f"{resource['resourcePrefix']}/{resource['resourceName']}"
    pod = (DEPLOY / "kubernetes" / "pod.yaml").read_text(encoding="utf-8")
    assert pod.count(f"{name}: ") == 2  # asked for, and the limit
    variable = re.sub(r"[^A-Z0-9]", "_", f"PCIDEVICE_{name}".upper())
    assert f'"{variable}"' in pod


def test_the_containers_run_commands_that_there_are() -> None:
    pod = (DEPLOY / "kubernetes" / "pod.yaml").read_text(encoding="utf-8")
    commands = [json.loads(found) for found in re.findall(r"args: (\[.*\])", pod)]
    assert [words[0] for words in commands] == ["capture", "exporter"]
    for words in commands:
        check(words)
    for safe in (
        "readOnlyRootFilesystem: true",
        "allowPrivilegeEscalation: false",
        'drop: ["ALL"]',
    ):
        assert pod.count(safe) == len(commands)


def test_each_worker_of_a_fleet_has_a_vf_and_the_scheduler_has_none(tmp_path: Path) -> None:
    """And the plan of the guide is one for these pods."""
    path = DEPLOY / "kubernetes" / "fleet.yaml"
    spec = yaml.safe_load(path.read_text(encoding="utf-8"))["spec"]
    (worker,), (scheduler,) = (spec[of]["spec"]["containers"] for of in ("worker", "scheduler"))
    vf = {"intel.com/iavf": "1"}
    assert (
        vf.items()
        <= worker["resources"]["requests"].items() & worker["resources"]["limits"].items()
    )
    assert "resources" not in scheduler
    for pod in (spec["worker"]["spec"], spec["scheduler"]["spec"]):
        volumes = {volume["name"] for volume in pod["volumes"]}
        (container,) = pod["containers"]
        assert {mount["name"] for mount in container["volumeMounts"]} == volumes
        assert container["securityContext"]["readOnlyRootFilesystem"]
    guide = (ROOT / "docs/guides/fleet.md").read_text(encoding="utf-8")
    (text,) = (
        each for each in re.findall(r"```toml\n(.*?)```", guide, re.S) if "kubernetes" in each
    )
    (tmp_path / "plan.toml").write_text(text, encoding="utf-8")
    plan = read_plan(str(tmp_path / "plan.toml"))
    assert ROOT / str(plan.cluster and plan.cluster.options["custom_cluster_spec"]) == path
    assert len(plan.hosts) == spec["worker"]["replicas"]
    declared = worker["command"][worker["command"].index("--resources") + 1]
    assert {f"{host.resource}=1" for host in plan.hosts} == {declared}
    assert {host.port for host in plan.hosts} == {"PCIDEVICE_INTEL_COM_IAVF"}


def test_manifests_are_what_kubernetes_reads() -> None:
    """By PyYAML and by kubectl, which joins them without asking a server."""
    found = {}
    for path in (DEPLOY / "kubernetes").glob("*.yaml"):
        for document in yaml.safe_load_all(path.read_text(encoding="utf-8")):
            found[document["kind"]] = document
    joined = {"ConfigMap", "Pod", "Service", "ServiceMonitor"}
    assert set(found) == joined | {"Kustomization", "DaskCluster"}
    assert "fleet.yaml" not in found["Kustomization"]["resources"]  # its kind is of dask's operator
    pod, service, monitor = found["Pod"], found["Service"], found["ServiceMonitor"]
    assert service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
    wanted = monitor["spec"]["selector"]["matchLabels"].items()
    assert wanted <= service["metadata"]["labels"].items()
    assert monitor["spec"]["endpoints"][0]["port"] == service["spec"]["ports"][0]["name"]
    exporter = pod["spec"]["containers"][1]
    assert service["spec"]["ports"][0]["targetPort"] == exporter["ports"][0]["name"]
    assert exporter["args"][-1] == f":{exporter['ports'][0]['containerPort']}"
    volumes = {volume["name"] for volume in pod["spec"]["volumes"]}
    for container in pod["spec"]["containers"]:
        assert {mount["name"] for mount in container["volumeMounts"]} <= volumes
    user = dict(instructions())["USER"]
    context = pod["spec"]["securityContext"]
    assert user == f"{context['runAsUser']}:{context['runAsGroup']}"


def test_kubectl_joins_the_manifests() -> None:
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("kubectl is not installed")
    done = subprocess.run(
        [kubectl, "kustomize", str(DEPLOY / "kubernetes")], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert sorted(re.findall(r"^kind: (\w+)", done.stdout, re.MULTILINE)) == [
        "ConfigMap",
        "Pod",
        "Service",
        "ServiceMonitor",
    ]


def test_the_software_pf_of_the_unit_has_its_cache_where_it_may_write(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    service = Unit(DEPLOY / "systemd" / "iavfio-softvf@.service")["Service"]
    assert service["ProtectSystem"] == "strict" and service["ProtectHome"] == "yes"
    made: list[Path] = []
    monkeypatch.setattr(Path, "mkdir", lambda path, **_: made.append(path))
    monkeypatch.delenv("IAVFIO_GUEST_CACHE", raising=False)
    for word in shlex.split(service["Environment"]):
        monkeypatch.setenv(*word.split("=", 1))
    cache_dir()
    assert made[0].is_relative_to(Path("/var/cache") / service["CacheDirectory"])


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_a_unit_starts_a_command_that_there_is(path: Path) -> None:
    service = Unit(path)["Service"]
    program, *words = service["ExecStart"].replace("$SOFTVF_OPTIONS", "").split()
    assert program == "/usr/bin/iavfio"
    check(words)
    assert service["Type"] == "notify"
    assert "143" in service["SuccessExitStatus"].split()  # what `iavfio` ends with after SIGTERM
    for safe in ("NoNewPrivileges", "PrivateDevices", "RestrictNamespaces"):
        assert service[safe] == "yes"
    assert service["ProtectSystem"] == "strict"
    assert service["CapabilityBoundingSet"] == ""


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_systemd_knows_every_word_of_a_unit(path: Path, tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not installed")
    text = path.read_text(encoding="utf-8").replace("/usr/bin/iavfio", sys.executable)
    unit = tmp_path / path.name.replace("@", "@lab")
    unit.write_text(text, encoding="utf-8")
    done = subprocess.run([analyze, "verify", str(unit)], capture_output=True, text=True)
    assert [line for line in done.stderr.splitlines() if unit.name in line] == []


def test_the_udev_rules_begin_with_the_one_that_doctor_gives() -> None:
    text = (DEPLOY / "udev" / "60-vfio.rules").read_text(encoding="utf-8")
    rules = [line for line in text.splitlines() if not line.startswith("#")]
    assert rules[0] == RULE
    assert len(rules) == 3
    for rule in rules:
        assert rule.endswith('GROUP="vfio", MODE="0660"')
    users = (DEPLOY / "sysusers" / "iavfio.conf").read_text(encoding="utf-8")
    assert "g vfio -" in users.splitlines()
    assert {Unit(path)["Service"].get("User") for path in UNITS} == {None, "iavfio"}
