/* SPDX-License-Identifier: BSD-3-Clause */
int iavfio_vfio_abi(void);
