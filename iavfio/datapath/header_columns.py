# SPDX-License-Identifier: BSD-3-Clause
"""Header fields of packets as properties: `burst.ip4_dst` for `burst.layers().ip4_dst`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from iavfio.datapath.layers import Layers, Masked


class HeaderColumns:
    """One column for each field; masked arrays, in which packets without the field are masked.

    Each property looks at the packets anew: for several of them take `layers()` once.
    """

    __slots__ = ()

    def layers(self) -> Layers:
        """The headers of all packets. Raises StateError after release."""
        raise NotImplementedError

    @property
    def eth_dst(self) -> Masked:
        """Destination MAC addresses as numbers of 48 bits: `int.from_bytes(port.mac)`."""
        return self.layers().eth_dst

    @property
    def eth_src(self) -> Masked:
        """Source MAC addresses, as `eth_dst`."""
        return self.layers().eth_src

    @property
    def eth_type(self) -> Masked:
        """EtherTypes behind all VLAN tags; masked where an 802.3 frame has a length there."""
        return self.layers().eth_type

    @property
    def vlan_id(self) -> Masked:
        """VLAN of the outermost tag, stripped or in the frame; masked without a tag.

        A stripped tag is known only with the metadata "vlan".
        """
        return self.layers().vlan_id(0)

    @property
    def vlan_inner(self) -> Masked:
        """VLAN of the tag behind the outermost one (QinQ); masked where there is none."""
        return self.layers().vlan_id(1)

    @property
    def ip4_src(self) -> Masked:
        """IPv4 source addresses as numbers: `int(ipaddress.ip_address("198.18.0.1"))`."""
        return self.layers().ip4_src

    @property
    def ip4_dst(self) -> Masked:
        """IPv4 destination addresses, as `ip4_src`."""
        return self.layers().ip4_dst

    @property
    def ip6_src(self) -> Masked:
        """IPv6 source addresses, shape (packets, 16): `ipaddress.ip_address(bytes(row))`."""
        return self.layers().ip6_src

    @property
    def ip6_dst(self) -> Masked:
        """IPv6 destination addresses, as `ip6_src`."""
        return self.layers().ip6_dst

    @property
    def ip_proto(self) -> Masked:
        """What IP carries, behind IPv6's extension headers: 6 TCP, 17 UDP, 1 ICMP, 58 ICMPv6."""
        return self.layers().ip_proto

    @property
    def l4_src(self) -> Masked:
        """Source ports of TCP, UDP, UDP-Lite, SCTP and DCCP; fragments have none."""
        return self.layers().l4_src

    @property
    def l4_dst(self) -> Masked:
        """Destination ports, as `l4_src`."""
        return self.layers().l4_dst

    @property
    def flow_hash(self) -> Masked:
        """64 bits over addresses, protocol and ports: the same for all packets of a flow.

        Made here, so that it is the same in every process and on every card; the device's is `rss`.
        Masked where there is no IP.
        """
        from iavfio.datapath.flows import flow_hash

        return flow_hash(self.layers())

    @property
    def biflow_hash(self) -> Masked:
        """Hashes as of `flow_hash`, but the same for the two directions of a connection."""
        from iavfio.datapath.flows import flow_hash

        return flow_hash(self.layers(), both_ways=True)
