# SPDX-License-Identifier: BSD-3-Clause
"""The first hour on a card: can iavfio be trusted on it, and where is it unlike the software VF?

`checks.CHECKS` is the table of what is tried, `run.qualify` tries it on one or two VFs of one PF,
and `bundle` keeps the results in a file that is fit for a bug report.
"""
