# SPDX-License-Identifier: BSD-3-Clause
"""From desired state to running queues: rings, vectors, and the requests to the PF, in order.

The same steps serve the first start and the rebuild after a reset (spec: virtchnl 7, descriptors
10).
"""

from __future__ import annotations

import errno
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from iavfio._driver import ffi, lib
from iavfio.datapath.queues import QueuePair, Rings
from iavfio.errors import (
    ConfigError,
    DeviceLost,
    IavfioError,
    ItemRefused,
    PfRefused,
    ResetError,
    ResetUnderWay,
)
from iavfio.port.settings import FCS
from iavfio.port.state import State
from iavfio.port.vectors import VectorPlan, dyn_ctl
from iavfio.virtchnl.capabilities import CapabilityReport, cap_names
from iavfio.virtchnl.messages.queues import QueuePair as WirePair
from iavfio.virtchnl.messages.queues import VectorMap
from iavfio.virtchnl.messages.rss import HashFunction

if TYPE_CHECKING:
    from iavfio.port.port import Port

ISAS: dict[str, int] = {
    "auto": lib.ISA_AUTO,
    "scalar": lib.ISA_SCALAR,
    "avx2": lib.ISA_AVX2,
    "avx512": lib.ISA_AVX512,
    "neon": lib.ISA_NEON,
}
BUFFER: int = lib.POOL_ROOM


def check_isa(name: str) -> str:
    """A name of ISAS. Raises ConfigError."""
    if name not in ISAS:
        raise ConfigError(f"there is no code path {name!r}", "", f"choose of: {', '.join(ISAS)}")
    return name


class BuiltPair:
    """A queue pair of a port with what C needs for it."""

    def __init__(self, pair: QueuePair, port: Port) -> None:
        self.pair = pair
        self._port = port
        self._config: tuple[object, ...] = ()
        self.isa = ""

    @property
    def raw(self) -> Any:
        """The C pair, None before the first start."""
        return self.pair.raw

    def create(self, plan: VectorPlan) -> None:
        """Rings and C pair; kept over stop and reset, unless the PF's terms have changed."""
        port, s, i = self._port, self._port.settings, self.pair.index
        terms = (port.session.rxdid, _strip_in_l2tag2(port), plan.of(i), plan.wb_on_itr)
        if self.raw is not None and self._config == terms:
            return
        self.pair.close()
        space = port.device.space
        pool_iova = port.pool.iova(space)
        if self.pair.rings is None:
            self.pair.rings = Rings(space, s.rx_ring, s.tx_ring)
        rings = self.pair.rings
        vector = plan.of(i)
        config: Any = ffi.new("struct pair_config *")
        config.pool, config.pool_iova = port.pool.raw, pool_iova
        config.rx_ring = ffi.cast("void *", rings.rx_address)
        config.tx_ring = ffi.cast("void *", rings.tx_address)
        config.rx_tail = _doorbell(port, lib.REG_QRX_TAIL1 + 4 * i)
        config.tx_tail = _doorbell(port, lib.REG_QTX_TAIL1 + 4 * i)
        config.regio = ffi.cast("struct vfio_regio *", port.bar.regio)
        config.rq = ffi.cast("struct rq_counters *", port.segment.rq_address(i))
        config.sq = ffi.cast("struct sq_counters *", port.segment.sq_address(i))
        config.queue, config.rx_entries, config.tx_entries = i, s.rx_ring, s.tx_ring
        config.buffer_size, config.max_frame = BUFFER, s.frame
        config.flex, config.vlan_in_l2tag2 = terms[0], terms[1]
        config.metadata, config.isa = s.metadata_bits, ISAS[s.isa]
        config.scattered = self.pair.scattered
        config.dyn_ctl = dyn_ctl(vector)
        config.poll_ctl, config.sleep_ctl = plan.poll_ctl, plan.sleep_ctl
        config.rearm = not plan.wb_on_itr
        config.event_fd = port._vectors[vector]
        error = ffi.new("int *")
        raw = lib.pair_new(config, error)
        if raw == ffi.NULL:
            raise _pair_error(port, i, error[0])
        self._config, self.pair.raw = terms, raw
        self.isa = ffi.string(lib.pair_isa_name(raw)).decode()

    def arm(self) -> None:
        """Fresh rings, the receive ring posted. Raises IavfioError when buffers are short."""
        self._done(lib.pair_arm(self.raw))

    def start(self) -> None:
        """The PF has enabled the queues."""
        self._done(lib.pair_start(self.raw))

    def _done(self, result: int) -> None:
        if result == -errno.ENODEV:
            raise DeviceLost(f"{self._port.name} is gone", "", "close it and open it again")
        if result == -errno.ESHUTDOWN:
            raise ResetUnderWay(f"{self._port.name} was reset while its queues were started")
        if result < 0:
            raise _pair_error(self._port, self.pair.index, result)

    def halt(self, why: int = -errno.ESHUTDOWN) -> None:
        """No caller or worker is inside after the return."""
        raw = self.raw
        if raw is not None:
            lib.pair_stop(raw, why)

    def drain(self) -> None:
        """Takes all buffers back; only when the device can no longer write."""
        raw = self.raw
        if raw is not None:
            lib.pair_drain(raw)

    def settle(self) -> None:
        """See pair_settle."""
        raw = self.raw
        if raw is not None:
            lib.pair_settle(raw)

    def close(self) -> None:
        """After the device can no longer write: all buffers return, the rings go."""
        self.pair.close()
        rings, self.pair.rings = self.pair.rings, None
        if rings is not None:
            rings.close()


def make_pairs(port: Port) -> list[BuiltPair]:
    """Queue pairs for the port's settings; no memory is taken yet."""
    s = port.settings
    scattered = s.frame + FCS > BUFFER
    return [
        BuiltPair(QueuePair(i, port.pool, s.metadata_bits, scattered), port)
        for i in range(s.queues)
    ]


def bring_up(port: Port, pairs: list[BuiltPair]) -> None:
    """All of start: raises at the first step that fails, with nothing enabled."""
    session, s = port.session, port.settings
    plan = VectorPlan.make(
        s.queues,
        min(session.resources.max_vectors, len(port._vectors)),
        session.has(lib.VC_CAP_WB_ON_ITR),
    )
    for built in pairs:
        built.create(plan)
        built.arm()
    client = session.client
    client.config_queues([_wire_pair(port, built) for built in pairs])
    client.irq_map([VectorMap(v.number, v.bitmap, v.bitmap, 0, 0) for v in plan.vectors])
    _set_rss(port)
    _set_vlan_stripping(port)
    _set_addresses(port)
    if s.promiscuous or s.all_multicast:
        client.promiscuous(s.promiscuous, s.all_multicast)
    mask = (1 << s.queues) - 1
    port.dma_live = True  # from here on, whatever the reply
    client.enable_queues(mask, mask)
    for built in pairs:
        built.start()
    port.segment.set_pairs(s.queues)


def _wire_pair(port: Port, built: BuiltPair) -> WirePair:
    rings = built.pair.rings
    assert rings is not None
    return WirePair(
        queue=built.pair.index,
        tx_ring=rings.tx_entries,
        tx_iova=rings.tx_iova,
        rx_ring=rings.rx_entries,
        rx_iova=rings.rx_iova,
        buffer=BUFFER,
        max_frame=port.settings.frame + FCS,
        rxdid=port.session.rxdid,
    )


def _set_rss(port: Port) -> None:
    """All queues are used by default; a PF may keep hash fields of its own (virtchnl 9)."""
    session, rss = port.session, port.settings.rss
    if not session.has(lib.VC_CAP_RSS_PF):
        if port.settings.queues > 1:
            port.note("the PF does not grant RSS: all packets arrive in queue 0")
        return
    client, resources = session.client, session.resources
    client.rss_key(rss.key_of(resources.key_size))
    client.rss_lut(rss.table_of(resources.lut_size, port.settings.queues))
    if rss.symmetric:
        try:
            client.rss_hfunc(HashFunction.SYMMETRIC_TOEPLITZ)
        except PfRefused as refused:
            port.note(f"symmetric RSS is not in force: {refused.what}")
    try:
        client.set_hashcfg(rss.hashcfg & client.hashcfg_caps())
    except PfRefused as refused:
        port.note(f"the PF keeps its own RSS hash fields: {refused.what}")


def _set_vlan_stripping(port: Port) -> None:
    """The tag is stripped exactly when the vlan column is wanted; a refusal is not fatal."""
    session, wanted = port.session, "vlan" in port.settings.metadata
    try:
        if session.vlan_caps is not None:
            session.client.vlan_strip(wanted, session.vlan_caps)
        elif session.has(lib.VC_CAP_VLAN):
            session.client.vlan_strip(wanted)
    except (PfRefused, ConfigError) as refused:
        state = "on" if wanted else "off"
        port.note(f"VLAN stripping could not be switched {state}: {refused.what}")


def _strip_in_l2tag2(port: Port) -> int:
    """Where a stripped tag will be (descriptors 9): the outer tag's place if there is one."""
    caps = port.session.vlan_caps
    if caps is None:
        return 0
    word = caps.stripping.outer or caps.stripping.inner
    return int(bool(word & lib.VC_VLAN_TAG_L2TAG2_2))


def _set_addresses(port: Port) -> None:
    """The PF's own address works already, and some PFs refuse it when added again (features 3)."""
    client = port.session.client
    macs = list(port.settings.extra_macs)
    if port.mac != port.session.resources.vsi.mac:
        macs.insert(0, port.mac)
    if not macs:
        return
    try:
        client.add_macs(macs, primary=port.mac)
    except ItemRefused:
        if port.lifecycle.state is not State.RESETTING:
            raise
        _add_each(port, macs)


def _add_each(port: Port, macs: Sequence[bytes]) -> None:
    """After a reset traffic goes on with what the PF still allows (F26); the rest is noted."""
    for mac in macs:
        try:
            port.session.client.add_macs([mac], primary=port.mac)
        except ItemRefused as refused:
            port.note(f"an address is not in force since the reset: {refused.what}")
            given = port.session.resources.vsi.mac
            if mac == port.mac and given is not None:
                port.mac = given


def compare(port: Port, before: CapabilityReport) -> None:
    """What the PF gives after a reset, against what is wanted and what it gave before (F26).

    Raises ResetError when the settings cannot be in force any more.
    """
    session, settings = port.session, port.settings
    given, pairs = session.resources.vsi.mac, session.resources.queue_pairs
    if given is not None and settings.mac is None and given != port.mac:
        # The host has given the VF another address: that is the one that works.
        port.mac = given
        port.note(f"the PF changed the MAC address to {given.hex(':')}")
        port.emit("mac", given.hex(":"))
    taken = before.granted & ~session.report.granted
    if taken:
        port.note(f"since a reset the PF no longer grants {cap_names(taken)}")
    if settings.queues > pairs:
        raise ResetError(
            f"{port.name} came back with {pairs} queue pairs",
            f"{settings.queues} are configured",
            "close the port and open it again with fewer queues",
        )
    if settings.frame + FCS > session.max_frame:
        raise ResetError(
            f"{port.name} came back with frames of at most {session.max_frame} bytes",
            f"an MTU of {settings.mtu} is configured",
            "close the port and open it again with a smaller mtu",
        )


def _doorbell(port: Port, offset: int) -> Any:
    if not port.bar.mapped(offset):
        return ffi.NULL
    return ffi.cast("volatile uint32_t *", port.bar.address(offset))


def _pair_error(port: Port, queue: int, code: int) -> IavfioError:
    if code in (-errno.ENOBUFS, -errno.ENOMEM):
        s = port.settings
        need = s.queues * s.rx_ring
        return IavfioError(
            f"{port.name}: no buffers for the receive ring of queue {queue}",
            f"the pool has {port.pool.idle} of {port.pool.size} idle, the rings need {need}",
            f"open the port with a larger pool: pool=iavfio.Pool(buffers={2 * need + 4096})",
        )
    return IavfioError(
        f"{port.name}: queue pair {queue} cannot be set up",
        errno.errorcode.get(-code, str(code)),
        "",
    )
