# SPDX-License-Identifier: BSD-3-Clause
"""How long calls take at most, measured beside what docs/spec/reliability.md 7 promises.

Each measurement is a process of its own, with a software PF of its own: most of them wait, so many
run at a time. The exit status of `python -m bench.bounds` is 0 where each promise holds, 1 where
one does not, and 75 where a call took too long while the machine itself was late by as much: then
the measurement shows nothing.
"""
