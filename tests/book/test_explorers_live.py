"""Explorers with a kernel: a real one, spoken to as JupyterLab does."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from embedding_collapse.book import explorers
from embedding_collapse.book.explorers.live import PLOTLY, Live
from embedding_collapse.book.explorers.static import table

WIDGET = "application/vnd.jupyter.widget-view+json"


class Notebook:
    """A kernel, and the widgets it has made, as a front end sees them."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self.widgets: dict[str, dict[str, Any]] = {}
        self.bundle: dict[str, Any] = {}

    def run(self, code: str) -> None:
        self._follow(self.client.execute(code))

    def turn(self, widget: str, **state: Any) -> None:
        """Send what the front end sends when a reader has turned a widget."""
        data = {"method": "update", "state": state}
        content = {"comm_id": widget, "data": data}
        message = self.client.session.msg("comm_msg", content)
        self.client.shell_channel.send(message)
        self._follow(message["header"]["msg_id"])

    def _follow(self, message: str) -> None:
        """Read what the kernel sends until it has done with the message."""
        while True:
            heard = self.client.get_iopub_msg(timeout=60)
            if heard["parent_header"].get("msg_id") != message:
                continue
            kind, content = heard["msg_type"], heard["content"]
            assert kind != "error", content["evalue"]
            if kind == "comm_open":
                self.widgets[content["comm_id"]] = content["data"]["state"]
            elif kind == "comm_msg" and content["data"].get("method") == "update":
                self.widgets[content["comm_id"]].update(content["data"]["state"])
            elif kind == "display_data":
                self.bundle = content["data"]
            elif kind == "status" and content["execution_state"] == "idle":
                return

    def find(self, **state: Any) -> str:
        (found,) = [name for name, of in self.widgets.items() if state.items() <= of.items()]
        return found


@pytest.fixture
def notebook() -> Iterator[Notebook]:
    from jupyter_client.manager import start_new_kernel

    manager, client = start_new_kernel(kernel_name="python3")
    yield Notebook(client)
    client.stop_channels()
    manager.shutdown_kernel(now=True)


def test_turning_a_widget_runs_the_view_in_the_kernel(notebook):
    notebook.run("from embedding_collapse.book import explorers; explorers.show('sizing')")
    assert set(notebook.bundle) == {WIDGET, "text/html", "text/plain"}
    assert 'class="ec-explorer"' in notebook.bundle["text/html"]
    assert notebook.bundle[WIDGET]["model_id"] in notebook.widgets

    explorer = explorers.EXPLORERS["sizing"]()
    slider = notebook.find(description="Distortion ε")
    (readout,) = [
        name for name, of in notebook.widgets.items() if "ec-readout" in str(of.get("value"))
    ]
    (output,) = [name for name, of in notebook.widgets.items() if of.get("outputs")]
    values = [value for value, _ in explorer.controls[1].options]
    for distortion in (0.5, 0.2):
        notebook.turn(slider, index=values.index(distortion))
        view = explorer.view(explorer.data, explorer.start | {"eps": distortion})
        assert notebook.widgets[readout]["value"] == table(view.readout)
        (shown,) = notebook.widgets[output]["outputs"]
        assert shown["data"][PLOTLY]["data"][1]["y"] == view.marks[1]["y"]


# --- without a front end --------------------------------------------------------------------------


def test_a_button_sets_the_other_controls():
    live = Live(explorers.bend.explorer())
    live.controls["shape"].children[0].click()  # flat
    assert {live.controls[f"s{k}"].value for k in range(1, 9)} == {1.0}
    assert live.state["s8"] == 1.0
    assert "8.00" in live.readout.value


def test_next_and_back_lead_through_the_steps_and_end_there():
    explorer = explorers.sizing.explorer()
    live = Live(explorer)
    last = len(explorer.steps) - 1
    for number, step in enumerate(explorer.steps):
        assert live.state == explorer.at(number)
        assert step.look.replace("'", "&#x27;") in live.guide.value
        assert (live.back.disabled, live.next.disabled) == (number == 0, number == last)
        live.next.click()
    live.go(last)
    live.back.click()
    assert live.state == explorer.at(last - 1)
    assert live.controls["D"].value == live.state["D"]


def test_what_the_reader_turns_is_no_step_until_it_is_turned_back():
    explorer = explorers.sizing.explorer()
    live = Live(explorer)
    live.next.click()
    step, before = explorer.at(1), live.guide.value
    other = next(value for value, _ in explorer.controls[1].options if value != step["eps"])
    for way_back in (live.again.click, lambda: live.turn("eps", step["eps"])):
        assert "Step 2 of" in live.guide.value and live.again.disabled
        live.turn("eps", other)
        assert "Your own setting" in live.guide.value and not live.again.disabled
        way_back()
        assert live.state == step and live.guide.value == before


def test_over_runs_of_ones_own_there_are_no_steps(make_record):
    runs = [make_record(design, scale) for design, scale in (("se", 1), ("se", 4), ("me", 4))]
    explorer = explorers.scaling.explorer(runs)
    assert explorer.steps == ()
    assert Live(explorer).guide.value == "<b>Does size help?</b>"


def test_options_follow_the_control_that_they_depend_on(make_record):
    pairs = np.full((3, 3), 0.5)
    runs = [
        make_record("me", sets, projected_abundance=np.tile(pairs, (sets, 1, 1)).tolist())
        for sets in (4, 10)
    ]
    live = Live(explorers.sub_embeddings.explorer(runs))
    live.controls["run"].value = "ME 10x"
    live.controls["set"].value = 10
    live.controls["run"].value = "ME 4x"
    assert live.controls["set"].value == 4
    assert len(live.controls["set"].options) == 4


def test_a_pin_is_pressed_and_released():
    live = Live(explorers.EXPLORERS["spectrum"]())
    first = live.readout.value
    live.controls["pinned"].value = False  # the first step pins the base model's
    alone = live.readout.value
    live.controls["pinned"].value = True
    live.controls["run"].value = "base"
    assert live.state["pinned"]["run"] == "SE 10x"
    live.controls["run"].value = "SE 10x"
    live.controls["pinned"].value = False
    assert live.readout.value == alone != first
