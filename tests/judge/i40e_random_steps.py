# SPDX-License-Identifier: BSD-3-Clause
"""Steps for i40e, drawn at random: messages, valid or nearly or not, and the host's deeds."""

from __future__ import annotations

import struct
from dataclasses import replace

from hypothesis import strategies as st

from tests.judge import i40e_scenarios as i40e_steps
from tests.judge.i40e_pair import PF_VSI, Step, vsi_places
from tests.judge.i40e_scenarios import ADMIN, ALL, FLR, MULTICAST, ZERO, V, mac
from tests.softvf.pf.pf_rig import LINUX_CAPS, rss_key, rss_lut, select

MOST = 8

vsi = st.sampled_from([V] * 12 + [0, 1, 11, PF_VSI, 0xFFFF])
queue = st.sampled_from([0, 1, 2, 3] * 4 + [4, 15, 16, 0xFFFF])
bitmap = st.one_of(st.integers(0, 15), st.integers(0, 0x1FFFF))
address = st.one_of(
    st.integers(0, 24).map(mac), st.sampled_from([ZERO, ALL, MULTICAST, ADMIN, mac(1)])
)
addresses = st.lists(address, min_size=1, max_size=20)
vids = st.lists(
    st.one_of(st.integers(0, 20), st.sampled_from([4094, 4095, 4096])), min_size=1, max_size=20
)


@st.composite
def configured(draw: st.DrawFn) -> Step:
    """CONFIG_VSI_QUEUES, most of it valid."""
    keys = {
        "tx_len": st.sampled_from([0, 8, 512, 8160, 8161, 8168]),
        "rx_len": st.sampled_from([0, 32, 512, 8160, 8161, 8192]),
        "buffer": st.sampled_from([0, 100, 2048, 16256, 16257]),
        "frame": st.sampled_from([63, 64, 1522, 16383, 16384]),
        "rx_queue": st.sampled_from([0, 1]),
        "rxdid": st.integers(0, 255),
        "hdr_size": st.sampled_from([0, 1984, 1985]),
        "split": st.sampled_from([0, 1]),
    }
    wrong = draw(st.sets(st.sampled_from(sorted(keys)), max_size=2))
    queues = draw(st.lists(queue, min_size=1, max_size=6))
    return i40e_steps.configure(
        *queues, vsi=draw(vsi), **{name: draw(keys[name]) for name in sorted(wrong)}
    )


entry = st.tuples(
    vsi, st.integers(0, 5), st.integers(0, 17), st.integers(0, 17), *[st.integers(0, 4)] * 2
)
valid = st.one_of(
    st.builds(i40e_steps.resources, st.one_of(st.just(LINUX_CAPS), st.integers(0, 2**32 - 1))),
    configured(),
    st.lists(entry, min_size=1, max_size=6).map(lambda entries: i40e_steps.mapped(*entries)),
    st.builds(i40e_steps.enable, bitmap, bitmap, vsi),
    st.builds(i40e_steps.disable, bitmap, bitmap, vsi),
    st.builds(lambda a, v, k: i40e_steps.add(*a, vsi=v, kind=k), addresses, vsi, st.integers(0, 3)),
    st.builds(lambda a, v: i40e_steps.delete(*a, vsi=v), addresses, vsi),
    st.builds(lambda a, v: i40e_steps.add_vlan(*a, vsi=v), vids, vsi),
    st.builds(lambda a, v: i40e_steps.del_vlan(*a, vsi=v), vids, vsi),
    st.builds(i40e_steps.modes, st.integers(0, 5), vsi),
    st.builds(lambda v: Step(15, select(v, 0, 0)), vsi),
    st.builds(lambda v, k: Step(23, rss_key(v, k)), vsi, st.binary(min_size=51, max_size=53)),
    st.builds(
        lambda v, e: Step(24, rss_lut(v, bytes(e) * 8)),
        vsi,
        st.lists(st.integers(0, 4), min_size=8, max_size=8),
    ),
    st.integers(0, 2**64 - 1).map(lambda classes: Step(26, struct.pack("<Q", classes))),
    st.sampled_from([Step(25), Step(27), Step(28), Step(31), Step(2), FLR]),
    st.integers(0, 20).map(lambda n: Step(29, struct.pack("<H", n))),
)
deed = st.one_of(
    st.booleans().map(lambda on: Step(deed="trust", value=on)),
    st.sampled_from([bytes(6), i40e_steps.ADMIN_MAC.value]).map(
        lambda value: Step(deed="mac", value=value)
    ),
    st.sampled_from([0, 100]).map(lambda vlan: Step(deed="port_vlan", value=vlan)),
    st.booleans().map(lambda on: Step(deed="spoofchk", value=on)),
    st.sampled_from(["auto", "enable", "disable"]).map(lambda to: Step(deed="link", value=to)),
)


@st.composite
def near(draw: st.DrawFn) -> Step:
    """A valid message whose length or a byte of whose payload is wrong."""
    step = draw(valid.filter(lambda step: step.deed is None and len(step.payload) > 0))
    data = bytearray(step.payload)
    if draw(st.booleans()):
        data[draw(st.integers(0, len(data) - 1))] ^= 1 << draw(st.integers(0, 7))
    else:
        data = data[: draw(st.integers(0, len(data)))] + draw(st.binary(max_size=4))
    return Step(step.opcode, bytes(data))


invalid = st.builds(Step, st.integers(0, 140), st.binary(max_size=80))
ANY_STEP: st.SearchStrategy[Step] = st.one_of(valid, valid, valid, near(), invalid, deed)
STEPS = st.lists(ANY_STEP, min_size=1, max_size=MOST)


def of(vf: int, step: Step) -> Step:
    """The step as this VF says it: with the number of its own VSI in the place of VF 0's."""
    data = bytearray(step.payload)
    for at in vsi_places(step):
        if data[at : at + 2] == struct.pack("<H", V):
            data[at : at + 2] = struct.pack("<H", V + vf)
    return replace(step, payload=bytes(data))
