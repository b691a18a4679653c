"""Linux kernel tracepoints with eBPF and bcc, taught live in Jupyter.

>>> import tracekit as tk
>>> fmt = tk.read_format("tcp:tcp_probe", kernel="debian-12_6.12")
>>> fmt["snd_cwnd"].offset, fmt["snd_cwnd"].size
(88, 4)

The names below are imported when they are first used, so that ``import tracekit`` needs nothing but
the standard library and takes milliseconds.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tracekit.capture.equivalent import equivalent_program as equivalent_program
    from tracekit.capture.events import Events as Events
    from tracekit.capture.probe import Probe as Probe
    from tracekit.capture.registry import open_probes as open_probes
    from tracekit.capture.struct_layout import generated_struct as generated_struct
    from tracekit.capture.struct_layout import lay_out_struct as lay_out_struct
    from tracekit.capture.watch import watch as watch
    from tracekit.lesson.breakage import breakage as breakage
    from tracekit.lesson.breakage import breakages as breakages
    from tracekit.lesson.breakage import mend as mend
    from tracekit.lesson.claims import claims as claims
    from tracekit.lesson.curves import curves as curves
    from tracekit.lesson.exercise import check as check
    from tracekit.lesson.exercise import hint as hint
    from tracekit.lesson.exercise import progress as progress
    from tracekit.lesson.explore import explore as explore
    from tracekit.lesson.judgement import claim as claim
    from tracekit.lesson.lens import lens as lens
    from tracekit.lesson.live.controls import Slider as Slider
    from tracekit.lesson.live.controls import Switch as Switch
    from tracekit.lesson.live.panel import Marks as Marks
    from tracekit.lesson.live.panel import Panel as Panel
    from tracekit.lesson.live.plot import LivePlot as LivePlot
    from tracekit.lesson.machine import describe_machine as describe_machine
    from tracekit.lesson.prediction import compare_prediction as compare_prediction
    from tracekit.lesson.prediction import predict as predict
    from tracekit.lesson.side_by_side import side_by_side as side_by_side
    from tracekit.lesson.source import show_diff as show_diff
    from tracekit.lesson.source import show_source as show_source
    from tracekit.tracepoints.btf import event_struct as event_struct
    from tracekit.tracepoints.catalogue import catalogue_root as catalogue_root
    from tracekit.tracepoints.catalogue import kernels as kernels
    from tracekit.tracepoints.comparison import compare as compare
    from tracekit.tracepoints.format import Field as Field
    from tracekit.tracepoints.format import Format as Format
    from tracekit.tracepoints.format import parse_format as parse_format
    from tracekit.tracepoints.layout import decode as decode
    from tracekit.tracepoints.layout import dynamic_value as dynamic_value
    from tracekit.tracepoints.layout import layout_of as layout_of
    from tracekit.tracepoints.sockaddr import SocketAddress as SocketAddress
    from tracekit.tracepoints.sockaddr import decode_sockaddr as decode_sockaddr
    from tracekit.tracepoints.sockaddr import decode_sockaddr_column as decode_sockaddr_column
    from tracekit.tracepoints.tplist import tplist as tplist
    from tracekit.tracepoints.tracefs import categories as categories
    from tracekit.tracepoints.tracefs import find_tracefs as find_tracefs
    from tracekit.tracepoints.tracefs import find_tracepoints as find_tracepoints
    from tracekit.tracepoints.tracefs import read_format as read_format
    from tracekit.traffic.link import slow_link as slow_link
    from tracekit.traffic.tcp import Transfer as Transfer
    from tracekit.traffic.tcp import exchange as exchange
    from tracekit.traffic.tcp import transfer as transfer

# public name -> the module it lives in
_HOME = {
    "Events": "tracekit.capture.events",
    "equivalent_program": "tracekit.capture.equivalent",
    "Probe": "tracekit.capture.probe",
    "open_probes": "tracekit.capture.registry",
    "generated_struct": "tracekit.capture.struct_layout",
    "lay_out_struct": "tracekit.capture.struct_layout",
    "breakage": "tracekit.lesson.breakage",
    "breakages": "tracekit.lesson.breakage",
    "mend": "tracekit.lesson.breakage",
    "claim": "tracekit.lesson.judgement",
    "claims": "tracekit.lesson.claims",
    "compare_prediction": "tracekit.lesson.prediction",
    "predict": "tracekit.lesson.prediction",
    "check": "tracekit.lesson.exercise",
    "hint": "tracekit.lesson.exercise",
    "progress": "tracekit.lesson.exercise",
    "curves": "tracekit.lesson.curves",
    "explore": "tracekit.lesson.explore",
    "lens": "tracekit.lesson.lens",
    "watch": "tracekit.capture.watch",
    "LivePlot": "tracekit.lesson.live.plot",
    "Marks": "tracekit.lesson.live.panel",
    "Panel": "tracekit.lesson.live.panel",
    "Slider": "tracekit.lesson.live.controls",
    "Switch": "tracekit.lesson.live.controls",
    "describe_machine": "tracekit.lesson.machine",
    "side_by_side": "tracekit.lesson.side_by_side",
    "show_diff": "tracekit.lesson.source",
    "show_source": "tracekit.lesson.source",
    "Field": "tracekit.tracepoints.format",
    "Format": "tracekit.tracepoints.format",
    "SocketAddress": "tracekit.tracepoints.sockaddr",
    "catalogue_root": "tracekit.tracepoints.catalogue",
    "categories": "tracekit.tracepoints.tracefs",
    "compare": "tracekit.tracepoints.comparison",
    "decode": "tracekit.tracepoints.layout",
    "decode_sockaddr": "tracekit.tracepoints.sockaddr",
    "decode_sockaddr_column": "tracekit.tracepoints.sockaddr",
    "dynamic_value": "tracekit.tracepoints.layout",
    "event_struct": "tracekit.tracepoints.btf",
    "find_tracefs": "tracekit.tracepoints.tracefs",
    "find_tracepoints": "tracekit.tracepoints.tracefs",
    "kernels": "tracekit.tracepoints.catalogue",
    "layout_of": "tracekit.tracepoints.layout",
    "parse_format": "tracekit.tracepoints.format",
    "read_format": "tracekit.tracepoints.tracefs",
    "tplist": "tracekit.tracepoints.tplist",
    "Transfer": "tracekit.traffic.tcp",
    "exchange": "tracekit.traffic.tcp",
    "transfer": "tracekit.traffic.tcp",
    "slow_link": "tracekit.traffic.link",
}

__all__ = tuple(_HOME)


def __getattr__(name: str) -> Any:
    if name in _HOME:
        value = getattr(import_module(_HOME[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'tracekit' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
