# SPDX-License-Identifier: BSD-3-Clause
"""A traffic generator: streams of built or given frames, at their rates, counted exactly."""

from iavfio.generator.generator import Generator
from iavfio.generator.read import parse_stream, read_streams
from iavfio.generator.result import Generated, StreamCounts
from iavfio.generator.stream import Stream

__all__ = ["Generated", "Generator", "Stream", "StreamCounts", "parse_stream", "read_streams"]
