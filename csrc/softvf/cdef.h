/* SPDX-License-Identifier: BSD-3-Clause */
int iavfio_softvf_abi(void);
