import builtins

import pytest
from ipywidgets.widgets.widget import _instances

from tracekit.errors import TracekitError, UnknownExercise
from tracekit.lesson import prediction as module
from tracekit.lesson import state
from tracekit.lesson.prediction import compare_prediction, predict

CHOICES = ["none", "3", "more"]


@pytest.fixture(autouse=True)
def _state(tmp_path, monkeypatch):
    monkeypatch.setenv("TRACEKIT_STATE", str(tmp_path / "state"))
    monkeypatch.setattr(module, "_asked", {})


def restart_kernel():
    module._asked.clear()


def ask():
    return predict("04-handshake", "How many events?", CHOICES)


def test_nothing_waits_for_an_answer():
    assert ask().answer is None
    found = compare_prediction("04-handshake", "none")
    assert found.as_predicted is None
    assert repr(found).splitlines() == [
        "prediction 04-handshake: How many events?",
        "you said       found",
        "no prediction  none",
    ]


def test_both_stand_side_by_side():
    ask().commit("3")
    found = compare_prediction("04-handshake", 3)
    assert found.as_predicted is True
    assert repr(found).splitlines()[2].split() == ["3", "3", "as", "predicted"]
    found = compare_prediction("04-handshake", "none")
    assert found.as_predicted is False
    assert repr(found).splitlines()[2].split() == ["3", "none", "otherwise"]
    assert "otherwise" in found._repr_html_()


def test_the_first_answer_counts_until_it_is_taken_back():
    question = ask()
    question.commit("3")
    assert question.commit("none").answer == "3"
    question.forget()
    assert question.answer is None
    assert question.commit("none").answer == "none"


def test_an_answer_survives_a_restart():
    ask().commit("more")
    restart_kernel()
    assert compare_prediction("04-handshake", "more").as_predicted is True
    assert ask().answer == "more"


def test_an_answer_to_other_choices_is_none():
    ask().commit("more")
    changed = predict("04-handshake", "How many events?", ["0", "1"])
    assert changed.answer is None
    assert changed.commit(1).answer == "1"


@pytest.mark.parametrize("choice", ["four", "", None, 4])
def test_what_is_no_choice_is_refused(choice):
    with pytest.raises(TracekitError, match=r"none of the choices\n.*none, 3, more"):
        ask().commit(choice)
    assert not state.state_folder().exists()


@pytest.mark.parametrize("id", ["", "handshake", "4-handshake", "04-", "04-a/b", "04-A", "04-a\n"])
def test_an_id_has_the_chapters_number_and_a_word(id):
    with pytest.raises(TracekitError, match=r"can't name a prediction\n.*04-handshake"):
        predict(id, "How many?", CHOICES)


@pytest.mark.parametrize("choices", [[], ["one"], "abc", ["a", "a"], [1, "1"]])
def test_there_must_be_something_to_choose(choices):
    with pytest.raises(TracekitError, match="needs a choice"):
        predict("04-handshake", "How many?", choices)


def test_a_comparison_needs_a_question():
    with pytest.raises(UnknownExercise, match="run the cell with predict"):
        compare_prediction("04-nobody-asked", 3)


def test_plain_text_has_the_question_and_the_choices():
    question = ask()
    assert repr(question).splitlines()[:4] == [
        "prediction 04-handshake: How many events?",
        "  - none",
        "  - 3",
        "  - more",
    ]
    assert ".commit(" in repr(question)
    assert repr(question.commit("3")).splitlines()[-1] == "your answer: 3"
    long = predict("04-long", "word " * 40, ["a " * 60, "b"])
    assert max(map(len, repr(long).splitlines())) <= 80


def widget_of(question):
    bundle = question._repr_mimebundle_()
    assert bundle["text/plain"] == repr(question)
    id = bundle["application/vnd.jupyter.widget-view+json"]["model_id"]
    title, choices, button, status = _instances[id].children
    return title, choices, button, status


def test_the_widget_commits():
    question = ask()
    title, choices, button, status = widget_of(question)
    assert "How many events?" in title.value
    assert choices.options == tuple(CHOICES)
    button.click()
    assert status.value == "choose one first"
    assert question.answer is None
    choices.value = "3"
    assert question.answer is None
    button.click()
    assert question.answer == "3"
    assert "your answer: 3" in status.value
    assert choices.disabled
    assert button.disabled


def test_the_widget_shows_an_answer_of_before():
    ask().commit("more")
    restart_kernel()
    _, choices, button, status = widget_of(ask())
    assert (choices.value, choices.disabled, button.disabled) == ("more", True, True)
    assert "more" in status.value


def test_the_widget_says_why_an_answer_can_not_be_kept(monkeypatch, tmp_path):
    _, choices, button, status = widget_of(ask())
    file = tmp_path / "file"
    file.write_text("")
    monkeypatch.setenv("TRACEKIT_STATE", str(file))
    choices.value = "3"
    button.click()
    assert "TRACEKIT_STATE" in status.value


def test_the_question_is_escaped():
    title, *_ = widget_of(predict("04-html", "Is a<b & c?", CHOICES))
    assert "a&lt;b &amp; c" in title.value


def test_without_ipywidgets_there_is_the_text(monkeypatch):
    real = builtins.__import__

    def without(name, *rest, **more):
        if name.startswith("ipywidgets"):
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    question = ask()
    assert question._repr_mimebundle_() == {"text/plain": repr(question)}
