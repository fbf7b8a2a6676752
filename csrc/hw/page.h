/* SPDX-License-Identifier: BSD-3-Clause */
/* The smallest page of the host and of its IOMMU: what DMA mappings are aligned to. */
#ifndef IAVFIO_HW_PAGE_H
#define IAVFIO_HW_PAGE_H

#define PAGE_BYTES 4096ull

#endif
