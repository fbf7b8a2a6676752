/* SPDX-License-Identifier: BSD-3-Clause */
/* Lengths of Ethernet frames (IEEE 802.3), in bytes. */
#ifndef IAVFIO_HW_ETHERNET_H
#define IAVFIO_HW_ETHERNET_H

#define ETHER_HEADER 14 /* two addresses and the EtherType */
#define ETHER_FCS 4 /* frame check sequence: the device adds it and takes it off */
/* Without FCS; the device pads what is shorter (docs/spec/descriptors.md 3). */
#define ETHER_MIN_FRAME 60

#endif
