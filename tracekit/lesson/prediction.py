"""Predictions: the learner commits to an answer, then the live cell runs, then both stand together.

A committed answer is kept (see :mod:`~tracekit.lesson.state`), so it survives a restart of the
notebook's kernel. Nothing waits for an answer: a notebook executed without a reader goes on.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from tracekit.errors import TracekitError, UnknownExercise
from tracekit.lesson import state
from tracekit.tracepoints.table import Row, html_table, text_table

__all__ = ("Comparison", "Prediction", "compare_prediction", "predict")

_asked: dict[str, Prediction] = {}


@dataclass(frozen=True, slots=True, repr=False)
class Prediction:
    """A question with its choices; in a notebook, buttons to choose and commit.

    >>> Prediction("00-example", "How many events?", ("none", "3"))
    prediction 00-example: How many events?
      - none
      - 3
    your answer: none yet; choose above, or .commit('…')
    """

    id: str
    question: str
    choices: tuple[str, ...]

    @property
    def answer(self) -> str | None:
        """The committed choice; None before, and where the choices have changed since."""
        saved = state.load("predictions", self.id) or {}
        answer = saved.get("answer")
        return answer if answer in self.choices else None

    def commit(self, choice: object) -> Prediction:
        """Commit to one of the choices; the first answer counts until :meth:`forget`.

        Raises :class:`~tracekit.errors.TracekitError` for something that is no choice.
        """
        if str(choice) not in self.choices:
            raise TracekitError(
                f"{choice!r} is none of the choices", f"choose one of {', '.join(self.choices)}"
            )
        if self.answer is None:
            saved = {"question": self.question, "choices": self.choices, "answer": str(choice)}
            state.save("predictions", self.id, saved)
        return self

    def forget(self) -> None:
        """Take the answer back."""
        state.forget("predictions", self.id)

    @property
    def _title(self) -> str:
        return f"prediction {self.id}: {self.question}"

    @property
    def _status(self) -> str:
        if self.answer is None:
            return "your answer: none yet; choose above, or .commit('…')"
        return f"your answer: {self.answer}"

    def __repr__(self) -> str:
        parts = [self._title, *(f"  - {choice}" for choice in self.choices), self._status]
        return "\n".join(textwrap.fill(part, 80, subsequent_indent="    ") for part in parts)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        try:
            bundle = dict(self._widget()._repr_mimebundle_())
        except ImportError:
            bundle = {}
        # Where no widget can be drawn, in an exported page for example, the text is.
        return {**bundle, "text/plain": repr(self)}

    def _widget(self) -> Any:
        import ipywidgets

        choices = ipywidgets.RadioButtons(
            options=self.choices, value=self.answer, layout={"width": "auto"}
        )
        button = ipywidgets.Button(description="Commit", tooltip="The first answer counts")
        status = ipywidgets.HTML()

        def show() -> None:
            answer = self.answer
            choices.disabled = button.disabled = answer is not None
            status.value = escape(f"your answer: {answer}") if answer else ""

        def commit(_button: Any) -> None:
            if choices.value is None:
                status.value = "choose one first"
                return
            try:
                self.commit(choices.value)
                show()
            except TracekitError as error:
                status.value = escape(str(error))

        button.on_click(commit)
        show()
        title = ipywidgets.HTML(f"<b>{escape(self.question)}</b>")
        return ipywidgets.VBox([title, choices, button, status])


@dataclass(frozen=True, slots=True, repr=False)
class Comparison:
    """What was predicted (None: nothing) and what the live cell found, side by side.

    >>> Comparison(Prediction("00-example", "How many events?", ("none", "3")), "3", "none")
    prediction 00-example: How many events?
    you said  found
    3         none   otherwise
    """

    prediction: Prediction
    predicted: str | None
    found: str

    @property
    def as_predicted(self) -> bool | None:
        """Whether both are the same; None where nothing was predicted."""
        return None if self.predicted is None else self.predicted == self.found

    @property
    def _rows(self) -> list[Row]:
        word = {None: "", True: "as predicted", False: "otherwise"}[self.as_predicted]
        return [Row((self.predicted or "no prediction", self.found, word))]

    def __repr__(self) -> str:
        title = textwrap.fill(self.prediction._title, 80, subsequent_indent="    ")
        return f"{title}\n{text_table(_COLUMNS, self._rows)}"

    def _repr_html_(self) -> str:
        return html_table(self.prediction.question, _COLUMNS, self._rows)


_COLUMNS = ("you said", "found", "")


def predict(id: str, question: str, choices: Sequence[object]) -> Prediction:
    """Ask the reader before the live cell runs; show the value at the end of its cell.

    ``id`` is the chapter's number and a word, as in "04-handshake". The choices are shown as
    their ``str``. In plain text the choices are a list, and :meth:`Prediction.commit` answers.

    Raises :class:`~tracekit.errors.TracekitError` for an id of another form, and for choices of
    which there are not at least two different ones.
    """
    if not re.fullmatch(r"\d\d-[a-z0-9-]+", id):
        raise TracekitError(f"{id!r} can't name a prediction", 'name it as in "04-handshake"')
    texts = () if isinstance(choices, str) else tuple(str(choice) for choice in choices)
    if len(texts) < 2 or len(set(texts)) < len(texts):
        raise TracekitError(
            f"prediction {id} needs a choice", 'give a list of different ones: ["none", "some"]'
        )
    _asked[id] = prediction = Prediction(id, question, texts)
    return prediction


def compare_prediction(id: str, found: object) -> Comparison:
    """Put what the live cell found beside what was predicted under this id.

    ``found`` is compared with the choice as text, so give it in the words of the choices.

    Raises :class:`~tracekit.errors.UnknownExercise` where nothing was asked under this id.
    """
    prediction = _asked.get(id)
    if prediction is None:
        # After a restart of the kernel the cell that asked need not have run again.
        saved = state.load("predictions", id)
        if saved is None:
            raise UnknownExercise(
                f"nothing was predicted under {id!r}", "run the cell with predict(…) first"
            )
        prediction = Prediction(id, saved["question"], tuple(saved["choices"]))
    return Comparison(prediction, prediction.answer, str(found))
