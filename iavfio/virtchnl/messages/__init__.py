# SPDX-License-Identifier: BSD-3-Clause
"""virtchnl messages, a file a subject: how each is laid out, encoded, decoded and described."""
