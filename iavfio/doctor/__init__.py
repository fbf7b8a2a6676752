# SPDX-License-Identifier: BSD-3-Clause
"""What of a host keeps VFs from working, or from working fast: a file a subject, a row a finding.

A port that runs is `iavfio why`'s: it looks at the traffic, this room at what surrounds it.
"""

from iavfio.doctor.examination import Report, examine, names
from iavfio.doctor.finding import Finding, Seen
from iavfio.doctor.fixing import Change, fix, undo
from iavfio.doctor.host import Host

__all__ = ["Change", "Finding", "Host", "Report", "Seen", "examine", "fix", "names", "undo"]
