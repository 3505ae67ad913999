"""An explorer with a kernel: ipywidgets whose callbacks call the view."""

import html
import json
from typing import Any

import ipywidgets

from .explorer import Control, Explorer, State
from .static import table

PLOTLY = "application/vnd.plotly.v1+json"
WRAPPED = ipywidgets.Layout(flex_flow="row wrap")
LOOK = {"description_width": "initial"}  # as wide as the text


class Live:
    """The widgets of one explorer, and its state.

    Attributes:
        explorer: what is shown.
        state, step: the present ones.
        controls: a widget per control, by name.
        guide: the present step in words, pale while the state is the reader's own.
        back, next, again: buttons to the steps beside it, and from an own state to the step's.
        figure, readout: what the view makes of the state.
        box: all of it, to display.
    """

    def __init__(self, explorer: Explorer) -> None:
        self.explorer = explorer
        self.state: State = dict(explorer.start)
        self.controls = {control.name: self._widget(control) for control in explorer.controls}
        self.figure, self.readout = ipywidgets.Output(), ipywidgets.HTML()
        self.guide, self.step = ipywidgets.HTML(f"<b>{html.escape(explorer.title)}</b>"), 0
        buttons = [ipywidgets.Button(description=text) for text in ("Back", "Next", "Return")]
        self.back, self.next, self.again = buttons
        for button, by in zip(buttons, (-1, 1, 0), strict=True):
            button.on_click(lambda _, by=by: self.go(self.step + by))
        tour = [ipywidgets.Box(buttons, layout=WRAPPED)] if explorer.steps else []
        controls = ipywidgets.Box(list(self.controls.values()), layout=WRAPPED)
        self.box = ipywidgets.VBox([self.guide, *tour, controls, self.figure, self.readout])
        self._settling = False
        if explorer.steps:
            self.go(0)
        else:
            self._settle()

    def _widget(self, control: Control) -> ipywidgets.Widget:
        if control.kind == "presets":
            options = control.choices(self.state)
            buttons = [ipywidgets.Button(description=text) for _, text in options]
            for button, (change, _) in zip(buttons, options, strict=True):
                button.on_click(lambda _, change=change: self.turn(control.name, change))
            return ipywidgets.Box(buttons, layout=WRAPPED)
        if control.kind == "pin":
            widget = ipywidgets.ToggleButton(description=control.label)
        else:
            kinds = {"choice": ipywidgets.Dropdown, "slider": ipywidgets.SelectionSlider}
            widget = kinds[control.kind](
                options=[(text, value) for value, text in control.choices(self.state)],
                value=self.state[control.name],
                description=control.label,
                style=LOOK,
            )
        widget.observe(lambda change: self.turn(control.name, change["new"]), "value")
        return widget

    def go(self, number: int) -> None:
        """Show a step, the first being number 0, and the state that it is about."""
        self.step = number
        self.state = self.explorer.at(number)
        self._settle()

    def _tell(self) -> None:
        """Say where in the guide the reader is, if not elsewhere."""
        step, count = self.explorer.steps[self.step], len(self.explorer.steps)
        own = self.state != self.explorer.at(self.step)
        place = "Your own setting." if own else f"Step {self.step + 1} of {count}."
        self.guide.value = (
            f"<b>{html.escape(self.explorer.title)}</b><br>{place} "
            f'<span style="opacity:{0.45 if own else 1}">{html.escape(step.text)} '
            f"<b>{html.escape(step.look)}</b></span>"
        )
        self.back.disabled, self.next.disabled = self.step == 0, self.step == count - 1
        self.again.disabled = not own

    def turn(self, name: str, value: Any) -> None:
        """What a control's callback does: go to the new state and show it."""
        if not self._settling:
            self.state = self.explorer.changed(self.state, name, value)
            self._settle()

    def _settle(self) -> None:
        """Bring the controls in line with the state, and show its view."""
        self._settling = True  # what is set here is no turn of the reader's
        for control in self.explorer.controls:
            widget, value = self.controls[control.name], self.state.get(control.name)
            if control.kind == "pin":
                widget.value = value is not None
                widget.description = "Unpin" if widget.value else control.label
            elif control.kind != "presets":
                options = tuple((text, option) for option, text in control.choices(self.state))
                if widget.options != options:
                    widget.options = options
                widget.value = value
        self._settling = False
        if self.explorer.steps:
            self._tell()
        view = self.explorer.view(self.explorer.data, self.state)
        drawn = self.explorer.figure(view).update_layout(
            template="plotly_white", height=self.explorer.height, margin={"t": 40, "r": 10}
        )
        data = {PLOTLY: json.loads(drawn.to_json()), "text/plain": self.explorer.alt}
        self.figure.outputs = ({"output_type": "display_data", "data": data, "metadata": {}},)
        self.readout.value = table(view.readout)
