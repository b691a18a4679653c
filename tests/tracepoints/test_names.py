import pytest

from tracekit.tracepoints.names import TracepointNames, nearest_names

NAMES = (
    "tcp:tcp_probe",
    "tcp:tcp_send_reset",
    "tcp:tcp_retransmit_skb",
    "tcp:tcp_retransmit_synack",
    "sched:sched_switch",
    "sched:sched_wakeup",
    "syscalls:sys_enter_getrandom",
    "syscalls:sys_exit_getrandom",
    "syscalls:sys_enter_openat",
    "sock:inet_sock_set_state",
)


@pytest.mark.parametrize(
    ("asked", "nearest"),
    [
        ("tcp:tcp_prob", "tcp:tcp_probe"),
        ("tcp:probe", "tcp:tcp_probe"),
        ("tcp_probe", "tcp:tcp_probe"),
        ("net:tcp_probe", "tcp:tcp_probe"),
        ("tcp/tcp_probe", "tcp:tcp_probe"),
        ("TCP:TCP_PROBE", "tcp:tcp_probe"),
        ("tcp:tcp_retransmit", "tcp:tcp_retransmit_skb"),
        ("sched:switch", "sched:sched_switch"),
        ("getrandom", "syscalls:sys_exit_getrandom"),
        ("syscall:sys_enter_getrandom", "syscalls:sys_enter_getrandom"),
        ("syscalls:sys_enter_openat2", "syscalls:sys_enter_openat"),
        ("tcp:inet_sock_set_state", "sock:inet_sock_set_state"),
    ],
)
def test_the_meant_name_is_first(asked, nearest):
    found = nearest_names(asked, NAMES)
    assert found[0] == nearest
    assert 1 <= len(found) <= 3
    assert len(set(found)) == len(found)


def test_nothing_like_it():
    assert nearest_names("", NAMES) == ()
    assert nearest_names("qqqqqqqq", NAMES) == ()
    assert nearest_names("tcp:tcp_probe", ()) == ()
    assert len(nearest_names("tcp:tcp_retransmit", NAMES, 2)) == 2


def test_a_list_of_names_is_a_sequence():
    names = TracepointNames(NAMES, "*", "a test")
    assert (len(names), names[0], names[-1]) == (10, "tcp:tcp_probe", "sock:inet_sock_set_state")
    assert names[1:3] == NAMES[1:3]
    assert tuple(names) == NAMES
    assert "tcp:tcp_probe" in names
    assert "tcp:nothing" not in names
    assert names.categories == {"tcp": 4, "sched": 2, "syscalls": 3, "sock": 1}


def test_repr_is_bounded_and_says_what_it_leaves_out():
    many = TracepointNames(tuple(f"x:e{i}" for i in range(2305)), "*", "Linux", ("ftrace:print",))
    lines = repr(many).splitlines()
    assert len(lines) <= 30
    assert lines[0] == "2305 tracepoints match * in Linux"
    assert lines[-2] == "  … and 2280 more"
    assert "1 of ftrace:*" in lines[-1]
    html = many._repr_html_()
    assert html.count("<tr") == 1 + 25
    assert "… and 2280 more" in html
    assert repr(TracepointNames(("a:b",), "a", "Linux")).splitlines() == [
        "1 tracepoint matches a in Linux",
        "  a:b",
    ]
    assert repr(TracepointNames((), "a", "Linux")) == "0 tracepoints match a in Linux"
