"""The wire between the two hosts of a link, with a router in its middle that has the slow queue.

A queue at the sending host itself would never overflow: TCP holds back what waits in its own
host (TCP small queues, tcp_small_queue_check, net/ipv4/tcp_output.c, Linux 6.12). So each host has
a veth pair to a third network namespace, which forwards; there, tbf, the kernel's token bucket,
lets packets pass at a rate, keeps those that must wait in a queue of bounded size, and drops what
does not fit (tc-tbf(8)). netem delays and loses packets (tc-netem(8)). This module runs in the
process that owns the namespaces.
"""

from __future__ import annotations

import errno
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from tracekit.errors import TrafficError
from tracekit.traffic.namespaces import within
from tracekit.traffic.shape import Shape

__all__ = ("SERVER", "Wire")

# Addresses that exist in documents only (RFC 5737 and RFC 3849): nobody can take them for the
# machine's own. For each host its own address and the router's on the same side.
_CLIENT_SIDE = {4: ("192.0.2.1", "192.0.2.254"), 6: ("2001:db8:1::1", "2001:db8:1::fe")}
_SERVER_SIDE = {4: ("198.51.100.1", "198.51.100.254"), 6: ("2001:db8:2::1", "2001:db8:2::fe")}
SERVER = {family: pair[0] for family, pair in _SERVER_SIDE.items()}

_PREFIX_LENGTH = {4: 24, 6: 64}
_IFA_F_NODAD = 0x02  # without it an IPv6 address can't be used for its first second
_ETHERNET_FRAME = 1514


@dataclass(frozen=True, slots=True)
class _End:
    """One end of a veth pair: netlink in its namespace, interface index, hardware address."""

    route: Any
    index: int
    hardware: str


class Wire:
    """Two veth pairs, client to router and router to server; arguments are descriptors."""

    def __init__(self, client: int, router: int, server: int) -> None:
        """Make them, and switch them on."""
        self.has_ipv6 = True
        self._netem = False
        self._shaped = False
        self._sides = (
            (*_pair("client", client, router), _CLIENT_SIDE),
            (*_pair("server", server, router), _SERVER_SIDE),
        )
        with within(router):
            Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
            if (ipv6 := Path("/proc/sys/net/ipv6/conf/all/forwarding")).exists():
                ipv6.write_text("1")
        self.up()

    def up(self) -> None:
        """Switch all ends on, give them addresses and routes, wait until packets can pass."""
        for host, router, addresses in self._sides:
            for end in (host, router):
                end.route.link("set", index=end.index, state="up")
            for family, (own, gateway) in addresses.items():
                try:
                    _address(host, router, family, own, gateway)
                except NetlinkError:
                    if family == 4:
                        raise
                    self.has_ipv6 = False  # switched off on this machine
        deadline = time.monotonic() + 5
        while not all(_operational(end) for side in self._sides for end in side[:2]):
            if time.monotonic() > deadline:
                raise TrafficError("the link does not come up", "close it and make a new one")
            time.sleep(0.005)

    def down(self) -> None:
        """Switch the server's end off: the router loses the carrier, as if the wire were cut."""
        server = self._sides[1][0]
        server.route.link("set", index=server.index, state="down")

    def shape(self, shape: Shape) -> None:
        """Set rate, queue, delay and loss, while traffic runs.

        Raises :class:`~tracekit.errors.TrafficError` for a delay or a loss where the kernel has no
        netem, and then changes nothing.
        """
        netem = bool(shape.delay or shape.loss)
        to_client, to_server = (side[1] for side in self._sides)
        if netem and not self._netem:
            _try_netem(to_client)
        if self._shaped and netem != self._netem:
            for end in (to_client, to_server):
                end.route.tc("del", index=end.index, root=True)
            self._shaped = False
        verb = "change" if self._shaped else "add"
        for end, loss in ((to_server, shape.loss), (to_client, 0.0)):
            place: dict[str, Any] = {"handle": "1:"}
            if netem:
                # netem counts its queue in packets; it must hold all that is on its way.
                limit = max(1000, round(shape.rate / 8 * shape.delay / 64))
                end.route.tc(
                    verb,
                    "netem",
                    end.index,
                    handle="1:",
                    delay=round(shape.delay * 1e6),
                    loss=loss * 100,
                    limit=limit,
                )
                place = {"handle": "2:", "parent": "1:1"}
            end.route.tc(verb, "tbf", end.index, **place, **_tbf_parameters(shape))
        self._netem, self._shaped = netem, True

    def statistics(self) -> dict[str, int]:
        """Count what the queue towards the server has let pass, has dropped, and holds now."""
        end = self._sides[1][1]
        for qdisc in end.route.get_qdiscs(index=end.index):
            if qdisc.get_attr("TCA_KIND") == "tbf":
                stats = qdisc.get_attr("TCA_STATS")
                return {
                    "packets": stats["packets"],
                    "bytes": stats["bytes"],
                    "dropped": stats["drop"],
                    "waiting_packets": stats["qlen"],
                    "waiting_bytes": stats["backlog"],
                }
        raise TrafficError("the link has no queue", "close it and make a new one")


def _pair(name: str, host: int, router: int) -> tuple[_End, _End]:
    routes = []
    for network in (host, router):
        with within(network):
            routes.append(IPRoute())
    peer = {"ifname": f"to-{name}", "net_ns_fd": router}
    routes[0].link("add", ifname=name, kind="veth", peer=peer)
    ends = []
    for route, interface in zip(routes, (name, f"to-{name}"), strict=True):
        index = route.link_lookup(ifname=interface)[0]
        # One segment in one packet, as on a real wire. veth would otherwise carry up to 64 KiB in
        # one piece, and one event would stand for dozens of segments.
        route.link("set", index=index, gso_max_segs=1)
        link = route.get_links(index)[0]
        ends.append(_End(route, index, link.get_attr("IFLA_ADDRESS")))
    return ends[0], ends[1]


def _address(host: _End, router: _End, family: int, own: str, gateway: str) -> None:
    # Again after "down", too: an interface that is switched off loses routes and neighbours, and
    # its IPv6 addresses. The neighbours are given and not asked for (ARP): while the wire is cut
    # the router is to drop packets in silence, as a cut wire does, and not to report that it finds
    # no neighbour, on which TCP would retry sooner (RFC 6069).
    flags = {"flags": _IFA_F_NODAD} if family == 6 else {}
    ways = ((host, own, router, gateway), (router, gateway, host, own))
    for end, address, other, neighbour in ways:
        end.route.addr(
            "replace",
            index=end.index,
            address=address,
            prefixlen=_PREFIX_LENGTH[family],
            **flags,
        )
        end.route.neigh(
            "replace", ifindex=end.index, dst=neighbour, lladdr=other.hardware, state="permanent"
        )
    host.route.route(
        "replace", dst="default" if family == 4 else "::/0", gateway=gateway, oif=host.index
    )


def _operational(end: _End) -> bool:
    return bool(end.route.get_links(end.index)[0].get_attr("IFLA_OPERSTATE") == "UP")


def _try_netem(end: _End) -> None:
    # On the loopback interface of the router, where it disturbs nothing.
    try:
        end.route.tc("add", "netem", 1, handle="1:", delay=0)
    except NetlinkError as error:
        if error.code != errno.ENOENT:
            raise
        raise TrafficError(
            "this kernel has no netem, the queue that delays and loses packets",
            "leave out delay= and loss= (rate and queue need no netem), or load it: "
            "sudo modprobe sch_netem",
        ) from None
    end.route.tc("del", index=1, root=True)


def _tbf_parameters(shape: Shape) -> dict[str, int]:
    bytes_a_second = shape.rate // 8
    return {
        "rate": bytes_a_second,
        # The bucket: what may pass at once after a pause. 2 ms of the rate, and some packets.
        "burst": max(3 * _ETHERNET_FRAME, bytes_a_second // 500),
        "limit": shape.queue,
    }
