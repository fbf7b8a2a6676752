# SPDX-License-Identifier: BSD-3-Clause
"""One VF as PCI function: configuration space, registers, mailbox, MSI-X."""
