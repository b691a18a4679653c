import threading

import ipywidgets

from tracekit.lesson.live.controls import Applier, Slider, Switch, answer_at_once

DEADLINE = 10


def test_the_latest_value_is_applied_and_those_in_between_are_let_go():
    applied, begun, go_on, outcomes = [], threading.Event(), threading.Event(), []
    done = threading.Event()

    def set(value):
        begun.set()
        assert go_on.wait(DEADLINE)
        applied.append(value)
        if value == 9:
            done.set()
            raise ValueError("nine")

    apply = Applier(set, outcomes.append)
    apply(1)
    assert begun.wait(DEADLINE)
    for value in range(2, 10):
        apply(value)
    go_on.set()
    assert done.wait(DEADLINE)
    assert applied == [1, 9]
    for thread in threading.enumerate():
        if thread.name == "tracekit control":
            thread.join(DEADLINE)
    assert outcomes[0] is None
    assert str(outcomes[1]) == "nine"
    apply(10)
    for thread in threading.enumerate():
        if thread.name == "tracekit control":
            thread.join(DEADLINE)
    assert applied == [1, 9, 10]


def test_whole_numbers_stay_whole():
    whole = Slider("rate", 1, 50, 20, print).widget()
    assert isinstance(whole, ipywidgets.IntSlider)
    assert (whole.min, whole.max, whole.value) == (1, 50, 20)
    assert isinstance(Slider("loss", 0, 1, 0.25, print, step=0.05).widget().value, float)
    assert Switch("down", print, value=True).widget().value is True


def test_answers_go_where_the_browser_sent_them():
    """ipykernel 7.4 would send them behind the running cell."""

    class Comm:
        def _reply_subshell_for(self, data, default):
            return "behind the running cell"

    class Widget:
        comm = Comm()

    answer_at_once(Widget)
    assert Widget.comm._reply_subshell_for({}, "beside it") == "beside it"


def test_a_kernel_without_it_is_left_alone():
    class Widget:
        comm = None

    answer_at_once(Widget)
    assert Widget.comm is None
