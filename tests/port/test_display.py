# SPDX-License-Identifier: BSD-3-Clause
"""What Python prompts and notebooks show of ports, bursts and counters."""

from __future__ import annotations

import inspect
from html.parser import HTMLParser

import iavfio
from iavfio.notebook import table
from iavfio.softvf import launch
from tests.port.rig import udp, until


class Cells(HTMLParser):
    """The texts of a fragment of HTML whose elements are closed in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.texts: list[str] = []
        self.feed(html)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_a_table_escapes_what_it_shows() -> None:
    html = table("<b>", [("a&b", "<i>", 3), ("c", None, "")], ["h<", "x", "y"])
    assert Cells(html).texts == ["<b>", "h<", "x", "y", "a&b", "<i>", "3", "c", "None"]
    assert "<i>" not in html and "<b>" not in html


def test_ports_bursts_and_counters() -> None:
    with iavfio.open("softvf", name="shown") as port:
        assert "stopped" in Cells(port._repr_html_()).texts
        port.configure(queues=2, metadata={"rss"})
        port.start(wait_link=5)
        texts = Cells(port._repr_html_()).texts
        assert {"Port shown", "running", port.mac.hex(":"), "rss", "1500"} <= set(texts)
        frames = [udp(port.mac, port.mac, sport=1000 + k) for k in range(12)]
        with port.tx[0].build([*frames, port.mac + port.mac + b"\x88\xb5" + bytes(46)]) as burst:
            texts = Cells(burst._repr_html_()).texts
            assert texts[0] == "Burst of 13 packets, the first 10 of them"
            assert "1009 to 2000" in texts and "1010 to 2000" not in texts
            assert {"10.0.0.1", "10.0.0.2", "0x0800", "17"} <= set(texts)
            texts = Cells(burst[12:]._repr_html_()).texts
            assert texts[0] == "Selection of 1 packet"
            assert port.mac.hex(":") in texts and "0x88b5" in texts
            assert port.tx[0].send(burst) == 13
        assert Cells(burst._repr_html_()).texts == ["<Burst, released>"]
        assert until(lambda: sum(queue.waiting for queue in port.rx) == 13)
        for queue in port.rx:
            queue.recv().release()
        assert repr(port.stats) == "<PortStats of shown: running, 2 queue pairs>"
        texts = Cells(port.stats._repr_html_()).texts
        assert {"Counters of shown", "rx_unicast", "counter of rqN", "packets", "13"} <= set(texts)
    assert "closed" in Cells(port._repr_html_()).texts


def test_softvf_has_the_signature_of_its_function() -> None:
    signature = inspect.signature(iavfio.softvf)
    assert signature == inspect.signature(launch.softvf)
    assert list(signature.parameters)[:3] == ["vfs", "personality", "uplink"]
    assert signature.parameters["vfs"].default == 1
