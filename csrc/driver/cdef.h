/* SPDX-License-Identifier: BSD-3-Clause */
int iavfio_driver_abi(void);
