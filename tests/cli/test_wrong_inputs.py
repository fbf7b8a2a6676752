# SPDX-License-Identifier: BSD-3-Clause
"""Wrong use of the command line: each mistake has one exit status and names its real reason."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from iavfio.cli import run
from iavfio.cli.cards import PERSONALITIES
from iavfio.softvf.personality import check_effect, parse_option
from tests.sanitizer import SANITIZER

HIGHEST_CPU = max(os.sched_getaffinity(0))
LOWEST_FREE = next(cpu for cpu in range(1 << 16) if cpu not in os.sched_getaffinity(0))
OTHER_ISA = "neon" if os.uname().machine == "x86_64" else "avx2"
LONG = "/" + "d" * 120
BENCH = ["bench", "softvf"]
NARROW = [*BENCH, "--personality", "e810,max_mtu=1522"]
TOKEN = "00112233-4455-6677-8899-aabbccddeeff"
SOCKET = "vfio-user:/nowhere/vf0.sock"

WRONG: list[tuple[list[str], int, str]] = [
    # commands and options that do not exist
    (["bnch"], 2, "Did you mean 'bench'?"),
    (["benhc", "softvf"], 2, "Did you mean 'bench'?"),
    (["stat"], 2, "Did you mean 'stats'?"),
    (["sofvf"], 2, "Did you mean 'softvf'?"),
    (["unbnd"], 2, "Did you mean 'unbind'?"),
    (["zzz"], 2, "Commands are bench, bind"),
    (["journal", "shw"], 2, "Did you mean 'show'?"),
    (["journal", "zzz"], 2, "Commands are diff, record, show"),
    ([*BENCH, "--duratoin", "3"], 2, "--duration"),
    (["stats", "--jsn"], 2, "--json"),
    (["softvf", "--persona", "e810"], 2, "--personality"),
    (["--verson"], 2, "--version"),
    # numbers
    ([*BENCH, "--duration", "nan"], 2, "nan is out of range; it takes more than 0"),
    ([*BENCH, "--duration", "inf"], 2, "inf is out of range"),
    ([*BENCH, "--duration", "-inf"], 2, "-inf is out of range"),
    ([*BENCH, "--duration", "-1"], 2, "-1 is out of range"),
    ([*BENCH, "--duration", "0"], 2, "more than 0"),
    ([*BENCH, "--duration", "3s"], 2, "'3s' is not a number"),
    ([*BENCH, "--duration", ""], 2, "'' is not a number"),
    ([*BENCH, "--duration", "1e99"], 2, "out of range"),
    ([*BENCH, "--count", "-5"], 2, "--count 1"),
    ([*BENCH, "--count", "0"], 2, "it takes 1 to"),
    ([*BENCH, "--count", "1.5"], 2, "is not a whole number"),
    ([*BENCH, "--count", "1e6"], 2, "is not a whole number"),
    ([*BENCH, "--count", "99999999999999999999"], 2, "out of range"),
    ([*BENCH, "--rate", "-1"], 2, "0 to 1e+10 packets a second"),
    ([*BENCH, "--rate", "nan"], 2, "nan is out of range"),
    ([*BENCH, "--rate", "inf"], 2, "inf is out of range"),
    ([*BENCH, "--rate", "fast"], 2, "'fast' is not a number"),
    ([*BENCH, "--flows", "0"], 2, "1 to 65536 UDP flows"),
    ([*BENCH, "--flows", "-1"], 2, "--flows 1"),
    ([*BENCH, "--flows", "100000000"], 2, "--flows 65536"),
    ([*BENCH, "--flows", "65537"], 2, "--flows 65536"),
    ([*BENCH, "--queues", "0"], 2, "--queues 1"),
    ([*BENCH, "--queues", "17"], 2, "iavfio drives at most 16"),
    ([*BENCH, "--queues", "-3"], 2, "1 to 16 queue pairs"),
    ([*BENCH, "--queues", "two"], 2, "'two' is not a whole number"),
    ([*BENCH, "--ring", "100"], 2, "--ring 128"),
    ([*BENCH, "--ring", "32"], 2, "--ring 64"),
    ([*BENCH, "--ring", "8192"], 2, "--ring 8160"),
    ([*BENCH, "--ring", "0"], 2, "64 to 8160 descriptors"),
    ([*BENCH, "--burst", "0"], 2, "--burst 1"),
    ([*BENCH, "--burst", "257"], 2, "--burst 256"),
    ([*BENCH, "--mtu", "67"], 2, "--mtu 68"),
    ([*BENCH, "--mtu", "9703"], 2, "the longest frame of these cards has 9728"),
    ([*BENCH, "--mtu", "0"], 2, "--mtu 68"),
    ([*BENCH, "--pool", "63"], 2, "--pool 64"),
    ([*BENCH, "--pool", "0"], 2, "--pool 64"),
    ([*BENCH, "--pool", "100"], 2, "use --pool 1024"),
    ([*BENCH, "--pool", "512"], 2, "the receive rings alone hold 512"),
    ([*BENCH, "--pool", "20000000"], 2, "--pool 16777216"),
    ([*BENCH, "--max-loss", "-0.1"], 2, "share of all packets"),
    ([*BENCH, "--max-loss", "1.1"], 2, "0 to 1"),
    ([*BENCH, "--max-loss", "nan"], 2, "nan is out of range"),
    ([*BENCH, "--repeat", "0"], 2, "--repeat 1"),
    ([*BENCH, "--repeat", "-1"], 2, "1 to 1000 runs"),
    # plain digits, and words as they are written
    *(
        ([*BENCH, option, number], 2, f"'{number}' is not a {kind}number in plain digits")
        for option, kind in (("--count", "whole "), ("--duration", ""), ("--rate", ""))
        for number in ("1_0", " 1", "1 ", "\u0661\u0662", "\uff11", "\u00b21")
    ),
    (["stats", "--interval", "1_0"], 2, "'1_0' is not a number in plain digits"),
    (["top", "--interval", "\u0661"], 2, "is not a number in plain digits; it takes 0.01"),
    (["softvf", "--vfs", "\u0661"], 2, "is not a whole number in plain digits; it takes 1 to 64"),
    (["why", "softvf", "--interval", "0_1"], 2, "in plain digits; it takes 0 to 3600"),
    (["info", "PCIDEVICE_X:\u0661"], 2, "names no VF"),
    (["softvf", "--option", "reset_ms=1_0"], 2, "milliseconds from 0 to 60000"),
    (["softvf", "--option", "vectors=\u0665"], 2, "an integer from 2 to 65"),
    (["softvf", "--option", "bar0_size=\u0666\u0664K"], 2, "power of two"),
    (["softvf", "--option", "bar0_size=64k"], 2, "power of two from 64K"),
    (["softvf", "--option", "udp_tunnel=vxlan:\u0664"], 2, "vxlan:4789"),
    (["softvf", "--option", "trusted=ON"], 2, "on or off"),
    (["softvf", "--option", "mac=SET"], 2, "zero or set"),
    (["softvf", "--personality", "E810"], 2, "did you mean e810?"),
    (["softvf", "--writeback", "Immediate"], 2, "did you mean immediate?"),
    (["softvf", "--doorbells", "SHARED"], 2, "did you mean shared?"),
    (["softvf", "--pf", "Software"], 2, "did you mean software?"),
    ([*BENCH, "--personality", "E810"], 2, "did you mean e810?"),
    ([*BENCH, "--personality", "X710,trusted=on"], 2, "did you mean x710?"),
    ([*BENCH, "--isa", "AUTO"], 2, "did you mean auto?"),
    ([*BENCH, "--isa", "AVX2"], 2, "did you mean avx2?"),
    ([*BENCH, "--size", "IMIX"], 2, "did you mean imix?"),
    ([*BENCH, "--size", "Imix"], 2, "did you mean imix?"),
    ([*BENCH, "--mode", "LoopBack"], 2, "did you mean loopback?"),
    ([*BENCH, "--mode", "rxdrp"], 2, "did you mean rxdrop?"),
    ([*BENCH, "--writeback", "HARDWARE"], 2, "did you mean hardware?"),
    ([*BENCH, "--vfio-mode", "CDEV"], 2, "did you mean cdev?"),
    (["stats", "--names", "KERNEL"], 2, "did you mean kernel?"),
    (["info", "SOFTVF"], 2, "did you mean softvf?"),
    (["list", "--log-level", "INFO"], 2, "did you mean info?"),
    # sizes
    ([*BENCH, "--size", "63"], 2, "64 to 9728 bytes with FCS"),
    ([*BENCH, "--size", "20000"], 2, "64 to 9728"),
    ([*NARROW, "--size", "4000"], 2, "the PF lets at most 1522 bytes through"),
    ([*NARROW, "--size", "64,1523", "--mtu", "1496"], 2, "make it shorter"),
    ([*NARROW, "--size", "1518", "--mtu", "1400"], 2, "use --mtu 1492"),
    (["gen", *NARROW[1:], "--stream", "size=4000"], 2, "the PF lets at most 1522 bytes through"),
    ([*BENCH, "--size", "-64"], 2, "'-64' is no frame size"),
    ([*BENCH, "--size", "big"], 2, "imix"),
    ([*BENCH, "--size", ""], 2, "imix"),
    ([*BENCH, "--size", "64,,64"], 2, "imix"),
    ([*BENCH, "--size", "64,1e3"], 2, "imix"),
    ([*BENCH, "--size", "6 4"], 2, "imix"),
    ([*BENCH, "--size", ",".join(["64"] * 65)], 2, "64 can be used"),
    ([*BENCH, "--size", "1600", "--mtu", "1500"], 2, "--mtu"),
    # CPUs
    ([*BENCH, "--cpus", "x"], 2, "--cpus 0-3"),
    ([*BENCH, "--cpus", ""], 2, "names no CPUs"),
    ([*BENCH, "--cpus", "-1"], 2, "names no CPUs"),
    ([*BENCH, "--cpus", "3-1"], 2, "names no CPUs"),
    ([*BENCH, "--cpus", "0-"], 2, "names no CPUs"),
    ([*BENCH, "--cpus", "0,"], 2, "names no CPUs"),
    ([*BENCH, "--cpus", "4095"], 2, "CPU 4095 cannot be used; this process may run on"),
    ([*BENCH, "--cpus", f"{HIGHEST_CPU}-{HIGHEST_CPU + 1}"], 2, f"CPU {HIGHEST_CPU + 1} cannot"),
    ([*BENCH, "--cpus", f"{HIGHEST_CPU},{HIGHEST_CPU}"], 2, "named twice"),
    ([*BENCH, "--cpus", f"{HIGHEST_CPU},{HIGHEST_CPU}-{HIGHEST_CPU}"], 2, "named twice"),
    ([*BENCH, "--cpus", "0-99999999999"], 2, f"CPU {LOWEST_FREE} cannot be used"),
    ([*BENCH, "--cpus", "99999999999"], 2, "CPU 99999999999 cannot be used"),
    # addresses, names, words
    ([*BENCH, "--dst", "zz"], 2, "02:00:00:00:00:01"),
    ([*BENCH, "--dst", "02:00:00:00:00"], 2, "six bytes"),
    ([*BENCH, "--dst", ""], 2, "six bytes"),
    ([*BENCH, "--src", "00:00:00:00:00:00"], 2, "all six bytes are zero"),
    ([*BENCH, "--src", "01:00:5e:00:00:01"], 2, "group address"),
    ([*BENCH, "--src", "ff:ff:ff:ff:ff:ff"], 2, "group address"),
    ([*BENCH, "--isa", OTHER_ISA], 2, f"this CPU cannot run {OTHER_ISA}; it can run auto"),
    ([*BENCH, "--isa", "mmx"], 2, "choose of auto, scalar"),
    ([*BENCH, "--isa", ""], 2, "no code path"),
    ([*BENCH, "--mode", "loop"], 2, "loopback"),
    ([*BENCH, "--name", ""], 2, "no port name"),
    ([*BENCH, "--name", "a/b"], 2, "no port name"),
    ([*BENCH, "--name", "-x"], 2, "begins with a letter"),
    ([*BENCH, "--name", "x" * 65], 2, "1 to 64"),
    ([*BENCH, "--vf-token", "1234"], 2, "a token is a UUID"),
    ([*BENCH, "--vfio-mode", "socket"], 2, "cdev"),
    ([*BENCH, "--personality", "e1000"], 2, "e810, x710, x722"),
    ([*BENCH, "--personality", "e810,max_mtuu=1"], 2, "did you mean max_mtu?"),
    ([*BENCH, "--personality", "e810,max_mtu"], 2, "needs a value"),
    ([*BENCH, "--personality", "x710,num_queue_pairs=8,max_queue_pairs=2"], 2, "than the most"),
    ([*BENCH, "--writeback", "never"], 2, "immediate"),
    # what has no effect in a mode
    ([*BENCH, "--mode", "forward", "--rate", "9"], 2, "--rate cannot be used with --mode forward"),
    ([*BENCH, "--mode", "rxdrop", "--rate", "9"], 2, "it belongs to --mode txonly or loopback"),
    ([*BENCH, "--mode", "rxdrop", "--verify"], 2, "it belongs to --mode loopback"),
    ([*BENCH, "--mode", "txonly", "--verify"], 2, "leave --verify out"),
    ([*BENCH, "--mode", "forward", "--verify"], 2, "only who gets his own frames"),
    ([*BENCH, "--mode", "rxdrop", "--dst", "02:00:00:00:00:01"], 2, "nothing is sent"),
    ([*BENCH, "--mode", "rxdrop", "--src", "02:00:00:00:00:01"], 2, "nothing is sent"),
    # what has no effect on such a VF
    (["bench", "vfio-user:SOCK", "--personality", "x710"], 2, "of a private software VF, and none"),
    (["bench", "vfio-user:SOCK", "--writeback", "immediate"], 2, "--writeback is of a private"),
    (["capture", "vfio-user:SOCK", "-w", "-", "--uplink", "none"], 2, "write softvf for one"),
    (["capture", "softvf", "-w", "/dev/null", "tcp \udcff"], 2, "it holds bytes that are no UTF-8"),
    (["qualify", "vfio-user:SOCK", "--personality", "e810"], 2, "--personality is of a private"),
    (["info", "softvf", "--vfio-mode", "cdev"], 2, "--vfio-mode is of a PCI device, and none"),
    (["info", "vfio-user:SOCK", "--vfio-mode", "auto"], 2, "--vfio-mode is of a PCI device"),
    ([*BENCH, "--unsafe-noiommu"], 2, "--unsafe-noiommu is of a PCI device"),
    ([*BENCH, "--vf-token", TOKEN], 2, "--vf-token is of a PCI device"),
    ([*BENCH, "--personality", "x710,trusted=on,trusted=off"], 2, "trusted is given twice"),
    ([*BENCH, "--personality", "e810,fragmented=on"], 2, "option fragmented has no effect on e810"),
    # directories that do not exist are not made
    (["exporter", "--softvf", "nowhere", "--once"], 2, "'nowhere' does not exist"),
    ([*BENCH, "--runtime-dir", "nowhere"], 2, "'nowhere' does not exist"),
    (["info", "softvf", "--runtime-dir", "nowhere"], 2, "'nowhere' does not exist"),
    (["stats", "--runtime-dir", "nowhere"], 2, "'nowhere' does not exist"),
    (["stats", "--clean", "--runtime-dir", "nowhere"], 2, "'nowhere' does not exist"),
    (["why", "softvf", "--runtime-dir", "nowhere"], 2, "'nowhere' does not exist"),
    (["qualify", "softvf", "--runtime-dir", "nowhere"], 2, "'nowhere' does not exist"),
    (["qualify", "softvf", "-o", "nowhere/x.tar"], 2, "there is no directory nowhere"),
    (["journal", "record", "EMPTY", "-o", "nowhere/x"], 2, "there is no directory nowhere"),
    (["journal", "record", "nowhere", "-o", "x"], 2, "'nowhere' does not exist"),
    (["softvf", "--socket", "EMPTY", "--uplink", "pcap:,nowhere/x.pcap"], 2, "nowhere/x.pcap"),
    # targets
    (["bench"], 2, "iavfio bench softvf"),
    (["bench", "softvf", "softvf", "softvf"], 2, "one or two"),
    (["bench", "softvff"], 2, "did you mean softvf?"),
    (["bench", "0000:ff:1f.7"], 2, "iavfio list"),
    (["bench", SOCKET], 2, "iavfio softvf --socket DIR"),
    (["info"], 2, "Missing argument 'VF'"),
    (["info", "nosuch"], 2, "vfio-user:/path, or softvf"),
    (["info", ""], 2, "names no VF"),
    (["info", "eth0"], 2, "iavfio list"),
    (["info", "0000:ff:1f.7"], 2, "there is no PCI device 0000:ff:1f.7"),
    (["info", "ff:1f.7"], 2, "there is no PCI device 0000:ff:1f.7"),
    (["info", "0000:ff:1f.8"], 2, "names no VF"),
    (["info", "/tmp/vf0.sock"], 2, "did you mean vfio-user:/tmp/vf0.sock?"),
    (["info", SOCKET], 2, "there is no socket /nowhere/vf0.sock; start a software VF"),
    (["info", "vfio-user:"], 2, "the socket's path is empty"),
    (["info", f"vfio-user:{LONG}"], 2, "107 bytes"),
    (["info", "PCIDEVICE_NOT_SET"], 2, "not set in this environment"),
    (["info", "softvf", "softvf"], 2, "unexpected extra argument"),
    # a software PF
    (["softvf", "--vfs", "0"], 2, "1 to 64 VFs"),
    (["softvf", "--vfs", "65"], 2, "--vfs 64"),
    (["softvf", "--vfs", "two"], 2, "not a whole number"),
    (["softvf", "--uplink", "pcap:"], 2, "names no file"),
    (["softvf", "--uplink", "pcap:,"], 2, "names no file"),
    (["softvf", "--uplink", "pcap:/nowhere/in.pcap"], 2, "No such file"),
    (["softvf", "--uplink", "pcap:/dev/null"], 2, "too short"),
    (["softvf", "--uplink", "pcap:EMPTY"], 2, "empty is a directory name a file"),
    (["softvf", "--uplink", "pcap:BINARY,/etc"], 2, "/etc is a directory name a file"),
    (["softvf", "--uplink", "tap:lo"], 2, "lo is a network interface of this host and no TAP"),
    (["softvf", "--uplink", "tap:"], 2, "no interface name"),
    (["softvf", "--uplink", f"tap:{'x' * 16}"], 2, "no interface name"),
    (["softvf", "--uplink", "gen:size=1"], 2, "size=64..9728"),
    (["softvf", "--uplink", "gen:flows=0"], 2, "flows=1..4096"),
    (["softvf", "--uplink", "gen:speed=1"], 2, "generator options"),
    (["softvf", "--uplink", ""], 2, "loopback"),
    (["softvf", "--uplink", "carrier-pigeon"], 2, "loopback"),
    (["softvf", "--personality", "x520"], 2, "e810"),
    (["softvf", "--option", "colour=red"], 2, "known are pf_kernel"),
    (["softvf", "--option", "trustd=on"], 2, "did you mean trusted?"),
    (["softvf", "--option", "trusted"], 2, "needs a value"),
    (["softvf", "--option", "trusted=perhaps"], 2, "on or off"),
    (["softvf", "--option", "trusted=on", "--option", "trusted=off"], 2, "trusted is given twice"),
    (["softvf", "--option", "mfp=on"], 2, "mfp has no effect on e810: it is of a PF that i40e"),
    (["softvf", "--pf", "linux-ice", "--option", "mfp=on"], 2, "with --pf linux-ice there are"),
    (["softvf", "--pf", "linux-i40e", "--option", "double_vlan=on"], 2, "--pf linux-ice --pers"),
    (["softvf", "--option", "fragmented=on"], 2, "--personality x710 or x722"),
    *(
        (["softvf", "--personality", card, "--option", option], 2, "--personality e810")
        for card in ("x710", "x722")
        for option in ("true_promisc=on", "double_vlan=1", "reset_messages=drop")
    ),
    (["softvf", "--option", "vectors=1"], 2, "2 to 65"),
    (["softvf", "--option", "vectors=66"], 2, "2 to 65"),
    (["softvf", "--option", "max_ring=9000"], 2, "64 to 8160"),
    (["softvf", "--option", "reset_ms=nan"], 2, "0 to 60000"),
    (["softvf", "--option", "link_speed=7"], 2, "100000"),
    (["softvf", "--option", "bar0_size=3"], 2, "power of two"),
    (["softvf", "--socket", ""], 2, "name is empty"),
    (["softvf", "--socket", LONG], 2, "107 bytes"),
    (["softvf", "--socket", "/proc/nothing/here"], 2, "cannot use the directory"),
    (["softvf", "--socket", "/etc/passwd"], 2, "is a file"),
    (["softvf", "--writeback", "late"], 2, "immediate"),
    (["softvf", "--doorbells", "loud"], 2, "trapped"),
    (["softvf", "extra"], 2, "unexpected extra argument"),
    # counters
    (["stats", ""], 2, "no port name"),
    (["stats", ""], 2, "name a running port; 'iavfio stats' lists them"),
    (["stats", "--pool"], 2, "--pool needs a PORT"),
    (["stats", "--all", "--json"], 2, "--all needs a PORT"),
    (["stats", "--names", "kernel"], 2, "iavfio stats PORT --names kernel"),
    (["stats", "--clean", "--all"], 2, "--clean takes no --all"),
    (["stats", "../../etc/passwd"], 2, "no port name"),
    (["stats", "no-such-port"], 2, "no port named"),
    (["stats", "--names", "linux"], 2, "kernel"),
    (["stats", "a", "b"], 2, "unexpected extra argument"),
    # causes
    (["why"], 2, "Missing argument 'PORT'"),
    (["why", "nosuch"], 2, "iavfio list"),
    (["why", "0000:ff:1f.7"], 2, "there is no PCI device"),
    (["why", SOCKET], 2, "iavfio softvf --socket DIR"),
    (["why", "softvf", "--interval", "nan"], 2, "0 to 3600 seconds"),
    (["why", "softvf", "--interval", "-1"], 2, "0 to 3600 seconds"),
    # binding
    (["bind"], 2, "Missing argument"),
    (["bind", ""], 2, "is no PCI address"),
    (["bind", "0000:ff:1f.7"], 2, "iavfio list"),
    (["bind", "ff:1f.7"], 2, "iavfio list"),
    (["bind", "nosuch0"], 2, "neither a PCI address nor an interface"),
    (["bind", "../devices"], 2, "is no PCI address"),
    (["unbind"], 2, "--all"),
    (["unbind", "--all", "0000:ff:1f.7"], 2, "--all"),
    (["unbind", "0000:ff:1f.7"], 2, "iavfio list"),
    (["unbind", "nosuch0"], 2, "neither a PCI address nor an interface"),
    # journals
    (["journal", "show"], 2, "Missing argument"),
    (["journal", "show", "/nowhere/x"], 2, "does not exist"),
    (["journal", "show", "/etc"], 2, "is a directory"),
    (["journal", "show", "BINARY"], 2, "is no mailbox journal"),
    (["journal", "show", "OTHER"], 2, "iavfio journal record"),
    (["journal", "show", "NUMBERS"], 2, "is no mailbox journal"),
    (["journal", "diff", "OTHER"], 2, "Missing argument"),
    (["journal", "diff", "BINARY", "BINARY"], 2, "is no mailbox journal"),
    (["journal", "diff", "BINARY", "OTHER", "--width", "3"], 2, "--width 20"),
    (["journal", "record", "/nowhere", "-o", "x"], 2, "does not exist"),
    (["journal", "record", "EMPTY"], 2, "Missing option '-o'"),
    (["journal", "record", "EMPTY", "-o", "/etc"], 2, "is a directory"),
    (["journal", "record", "EMPTY", "-o", "x"], 2, "no software VF answers"),
    (["journal", "record", "EMPTY", "-o", "x", "--vf", "-1"], 2, "0 to 63"),
    (["journal", "record", "EMPTY", "-o", "x", "--vf", "64"], 2, "--vf 63"),
    # preloading
    (["preload"], 2, "Missing argument"),
    (["preload", "SOCK"], 2, "give it after --"),
    (["preload", "/nowhere/vf0.sock", "--", "true"], 2, "iavfio softvf --socket DIR"),
    (["preload", "--", "true"], 2, "Missing argument 'SOCKET"),
    (["preload", "--iova-bits", "31", "SOCK", "--", "true"], 2, "32 to 57"),
    (["preload", "--iova-bits", "x", "SOCK", "--", "true"], 2, "not a whole number"),
    (["preload", LONG, "--", "true"], 2, "107 bytes"),
    (["preload", "", "--", "true"], 2, "path is empty"),
    (["preload", "SOCK", "SOCK", "--", "true"], 2, "given twice"),
    (["preload", "SOCK", "LINK", "--", "true"], 2, "given twice"),
    (["preload", "/nope", "--", "ls"], 2, "there is no socket /nope"),
    # what is there, and is no VF's socket
    (["preload", "/dev/null", "--", "true"], 2, "/dev/null is a file and no socket; start"),
    (["preload", "EMPTY", "--", "ls"], 2, "is a directory and no socket; start a software VF"),
    (["preload", "PF", "--", "ls"], 2, "vf0.sock?"),
    (["bench", "vfio-user:PF"], 2, "is a directory and no socket; did you mean"),
    (["bench", "vfio-user:/etc/passwd"], 2, "/etc/passwd is a file and no socket"),
    (["bench", "vfio-user:CONTROL"], 2, "is the control socket of a software PF and no VF's"),
    (["info", "vfio-user:CONTROL"], 2, "in "),
    # one VF by two names
    (["bench", "vfio-user:SOCK", "vfio-user:SOCK"], 2, "is named twice"),
    (["bench", "vfio-user:SOCK", "vfio-user:LINK"], 2, "is named twice"),
    # checks
    (["qualify", "softvf", "--only", ""], 2, "a check's name is empty; checks are"),
    (["qualify", "softvf", "--only", "identity,"], 2, "a check's name is empty"),
    (["qualify", "softvf", "--skip", ","], 2, "a check's name is empty"),
    (["qualify", "vfio-user:SOCK", "vfio-user:LINK"], 2, "is named twice"),
]  # fmt: skip


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    home = tmp_path_factory.mktemp("files")
    (home / "binary").write_bytes(bytes(range(256)))
    (home / "other").write_text('{"name": "no journal"}\n', encoding="utf-8")
    (home / "numbers").write_text("12\n13\n", encoding="utf-8")
    (home / "empty").mkdir()
    found = {name.upper(): str(home / name) for name in ("binary", "other", "numbers", "empty")}
    pf = home / "pf"
    pf.mkdir()
    for name in ("vf0.sock", "control.sock"):
        with socket.socket(socket.AF_UNIX) as listener:  # the file stays: its server has ended
            listener.bind(str(pf / name))
    (home / "link").symlink_to(pf / "vf0.sock")
    found |= {"PF": str(pf), "SOCK": str(pf / "vf0.sock"), "LINK": str(home / "link")}
    return found | {"CONTROL": str(pf / "control.sock")}


def filled(word: str, files: dict[str, str]) -> str:
    before, colon, name = word.rpartition(":")
    return f"{before}{colon}{files.get(name, name)}"


def name_of(value: object) -> str:
    """A row's name: its command line, with long words cut."""
    if not isinstance(value, list):
        return ""
    return " ".join(word if len(word) < 30 else f"{word[:27]}..." for word in value)


@pytest.mark.parametrize(("arguments", "status", "reason"), WRONG, ids=name_of)
def test_a_mistake_has_its_exit_status_and_names_its_reason(
    arguments: list[str],
    status: int,
    reason: str,
    files: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if SANITIZER and arguments[0] == "preload":
        pytest.skip("preload's library is not built with the sanitizer")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("IAVFIO_DEBUG", raising=False)
    assert run([filled(word, files) for word in arguments]) == status
    said = capsys.readouterr()
    assert reason in " ".join(said.err.split())
    assert (said.out == "") == ("--json" not in arguments)
    for never in ("Traceback", "internal error", "iavfio.Pool", "port.configure", "queues="):
        assert never not in said.err
    lines = [line for line in said.err.splitlines() if line.strip()]
    assert len(lines) <= 3
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["bnch"], 2),
        ([*BENCH, "--duration", "nan"], 2),
        (["info", "nosuch"], 2),
        (["info", SOCKET], 2),
        (["stats", "no-such-port"], 2),
        (["softvf", "--uplink", "pcap:"], 2),
    ],
)
@pytest.mark.parametrize("module", ["iavfio", "iavfio.cli"])
def test_a_process_ends_with_the_same_status(
    module: str, arguments: list[str], status: int
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == status
    assert done.stdout == ""
    assert done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize("name", ["", "journal", "qualify"])
def test_a_group_without_a_command_shows_its_help_alone(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(name.split()) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("Usage: ") == 1
    assert "Commands:" in said.err
    assert "Error" not in said.err
    assert run([*name.split(), "--help"]) == 0
    assert capsys.readouterr().out == said.err


@pytest.mark.parametrize("option", ["mfp=off", "true_promisc=off", "trusted=on"])
def test_an_option_that_says_how_a_card_is_anyway_passes(option: str) -> None:
    name, value = parse_option(option)
    for card in PERSONALITIES:
        check_effect(card, [(name, value)])


@pytest.mark.parametrize(
    "name", ["", "bench", "bind", "info", "journal diff", "journal record", "journal show", "list",
             "preload", "softvf", "stats", "unbind", "why"],
)  # fmt: skip
def test_help_documents_the_exit_status(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*name.split(), "--help"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "Exit status: " in shown
    assert "2 wrong use" in shown
