# SPDX-License-Identifier: BSD-3-Clause
"""Linux's own PF drivers as ordinary processes: how they are built, and the talk with one.

`build.py` makes one of Debian's package of the kernel's source and the files of kernel/, which are
ours; `process.py` runs it. They judge the software PF (tests/judge), and i40e can be the software
VF's PF (iavfio/softvf/linux_pf). docs/guides/judge.md tells more.
"""
