"""Base, SE and ME that train in the page, and the bottleneck: alone on a page, and as a widget."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from embedding_collapse.book import joining
from embedding_collapse.book.explorers import TRAINING, bottleneck, sets, training

SMALL = {"train": 2_000, "test": 600, "epochs": 2}  # some seconds on a machine that is busy
STEPS = 8 * SMALL["epochs"]
SMALL_FIGURE = replace(
    sets.FIGURE,
    content=sets.FIGURE.content | {"setting": sets.FIGURE.content["setting"] | SMALL},
    start=sets.START | {"seeds": 3},
)
FIGURES = TRAINING | {"sets": SMALL_FIGURE}
Open = Callable[..., Page]
expect.set_options(timeout=60_000)
HEAD = '<!doctype html><html lang="en"><meta charset="utf-8"><title>A figure</title>'
HOST = """
const {{ default: widget }} = await import("./{name}.widget.js");
const el = document.querySelector("main");
window.leave = widget.render({{ model: {{ get: () => {page} }}, el }});
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pages on which each figure stands alone, and on which a host of widgets has it."""
    folder = tmp_path_factory.mktemp("pages")
    look = f"<style>{(joining.LIVE / 'live.css').read_text()}</style>"
    for name, figure in FIGURES.items():
        page = training.page(figure)
        script = joining.joined(joining.LIVE / f"{name}.js")
        (folder / f"{name}.script.js").write_text(script)
        text = f'{HEAD}{look}{page}<script src="{name}.script.js" defer></script>'
        (folder / f"{name}.html").write_text(text)
        (folder / f"{name}.widget.js").write_text(joining.widget(name))
        host = HOST.format(name=name, page=json.dumps(page).replace("</", "<\\/"))
        hosted = f'{HEAD}{look}<main></main><script type="module">{host}</script>'
        (folder / f"{name}_widget.html").write_text(hosted)
    return folder


@pytest.fixture
def opened(browser: Browser, address: str) -> Iterator[Open]:
    """Opens a page once its figure is alive; no fault may be left when the test ends."""
    windows, faults = [], []

    def open_page(name: str, search: str = "", script: str = "", **options: object) -> Page:
        base = options.pop("base", address)
        viewport = {"width": options.pop("width", 1280), "height": 900}
        window = browser.new_context(viewport=viewport, **options)
        windows.append(window)
        if script:
            window.add_init_script(script)
        page = window.new_page()
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.goto(f"{base}/{name}.html{search}")
        page.wait_for_selector("[data-live] .ec-status:not(:empty)", timeout=60_000)
        return page

    yield open_page
    for window in windows:
        window.close()
    assert faults == []


def wait_for_workers(page: Page, number: int) -> None:
    for _ in range(100):
        if len(page.workers) == number:
            return
        page.wait_for_timeout(100)
    pytest.fail(f"{len(page.workers)} workers")


def rows(page: Page, number: int) -> list[list[str]]:
    return (
        page.locator(".ec-readout tbody")
        .nth(number)
        .evaluate("it => [...it.rows].map(row => [...row.cells].map(cell => cell.textContent))")
    )


@pytest.mark.parametrize("script", ["", "delete window.Worker"], ids=["worker", "no worker"])
def test_the_verdicts_in_the_page_are_the_librarys(
    opened: Open, monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    page = opened("sets", script=script)
    page.get_by_role("button", name="Play", exact=True).click()
    status = page.locator(".ec-status")
    expect(status).to_contain_text(f"Seed 2, step {STEPS}.")
    monkeypatch.setattr(sets, "SETTING", sets.SETTING | SMALL)
    fresh = sets.model
    monkeypatch.setattr(sets, "model", lambda *of: fresh(*of).double())
    runs = sets.trained(*SMALL_FIGURE.start.values())
    for cells, run in zip(rows(page, 0), runs[-1], strict=True):
        assert cells[1:3] == ["2", str(STEPS)]
        assert float(cells[4]) == pytest.approx(run.auc, abs=2e-4)
        assert float(cells[5]) == pytest.approx(run.share, abs=0.006)
    for cells, asked, (effect, verdict) in zip(
        rows(page, 1), sets.ASKED, sets.effects(runs), strict=True
    ):
        assert (cells[0], cells[1], cells[4]) == (asked.claim.text, verdict, "3 of 3")
        assert float(cells[2].replace("−", "-")) == pytest.approx(effect.value, abs=2e-4)
        assert f"{verdict}: {asked.claim.text}" in status.inner_text()


def test_readers_who_want_no_motion_go_seed_by_seed(opened: Open) -> None:
    page = opened("sets", reduced_motion="reduce")
    status = page.locator(".ec-status")
    for seed in range(3):
        page.get_by_role("button", name="Train the next seed").click()
        expect(status).to_contain_text(f"Seed {seed}, step {STEPS}.")
        assert rows(page, 1)[0][4] == f"{seed + 1} of 3"
    expect(page.get_by_role("button", name="Train the next seed")).to_be_disabled()
    page.get_by_role("button", name="Reset").click()
    expect(status).to_contain_text("Seed 0, step 0.")


def test_a_seed_that_trains_without_motion_says_so_and_can_be_stopped(opened: Open) -> None:
    script = """
        const { postMessage } = Worker.prototype;
        let left = 5; // steps, until it is slow no longer
        Worker.prototype.postMessage = function (order) {
            if (!window.slow) return postMessage.call(this, order);
            const steps = left-- > 0 ? 1 : 0; // whole ones, however long they take here
            setTimeout(() => postMessage.call(this, { ...order, steps, budget: Infinity }), 300);
        };
    """
    page = opened("sets", script=script, reduced_motion="reduce")
    status, step = page.locator(".ec-status"), page.locator(".ec-readout td:nth-child(3)").first
    train = page.get_by_role("button", name="Train the next seed")
    page.evaluate("window.slow = true")
    train.click()
    expect(status).to_have_text("Training…")
    expect(step).not_to_have_text("0")  # while it trains, a second after a second
    expect(status).to_have_text("Training…")
    page.get_by_role("button", name="Pause", exact=True).click()
    expect(status).to_contain_text("Seed 0, step")
    page.wait_for_timeout(1000)  # an answer that was on its way is shown
    held = int(step.inner_text())
    assert 0 < held < STEPS and status.inner_text() == f"Seed 0, step {held}."
    page.evaluate("window.slow = false")
    train.click()  # the rest of it
    expect(status).to_have_text(f"Seed 0, step {STEPS}.")


def test_a_control_that_is_turned_while_the_last_picture_is_drawn_counts(opened: Open) -> None:
    script = """
        const draw = window.requestAnimationFrame;
        window.requestAnimationFrame = (act) => window.held ? window.held.push(act) : draw(act);
    """
    page = opened("sets", script=script, reduced_motion="reduce")
    turn = """(it, value) => {
        it.value = value;
        it.dispatchEvent(new Event("input"));
    }"""
    slider = page.locator("input[name=scale]")
    page.evaluate("window.held = []")
    slider.evaluate(turn, 0)
    # the trainer has answered; by the clock, as a wait by frames is held back with them
    page.wait_for_function("window.held.length", polling=20)
    slider.evaluate(turn, 3)
    page.evaluate("{ const { held } = window; delete window.held; held.forEach(draw => draw(0)); }")
    page.evaluate("new Promise(requestAnimationFrame)")
    expect(page.locator(".ec-run").nth(1)).to_have_text("SE 6x", timeout=10_000)
    assert slider.get_attribute("aria-valuetext") == "6"
    assert [row[0] for row in rows(page, 0)] == ["base", "SE 6x", "ME 6x"]


def test_runs_that_diverged_have_no_verdicts(opened: Open) -> None:
    script = """
        const { set } = Object.getOwnPropertyDescriptor(Worker.prototype, "onmessage");
        const heard = (act) => ({ data }) => {
            const ended = data.ends?.length > 0; // the first seed is through
            act({ data: ended ? { ...data, over: true, diverged: 3 } : data });
        };
        Object.defineProperty(Worker.prototype, "onmessage", {
            set(act) { set.call(this, heard(act)); },
        });
    """
    page = opened("sets", script=script, reduced_motion="reduce")
    page.get_by_role("button", name="Train the next seed").click()
    expect(page.locator(".ec-status")).to_contain_text("Diverged at step 3, learning rate")
    for cells in rows(page, 1):
        assert cells[1] == "–" and cells[2] != "–"


def test_a_setting_is_in_the_address_and_the_model_is_a_menu(opened: Open) -> None:
    page = opened("sets", "?sets=scale:2,model:fm", reduced_motion="reduce")
    notice = page.locator(".ec-notice")
    expect(notice).to_have_text("The address asks for “model:fm”; accepted: dnn, dcnv2.")
    assert [row[0] for row in rows(page, 0)] == ["base", "SE 2x", "ME 2x"]
    page.get_by_label("Model").select_option("dcnv2")
    expect(notice).to_be_hidden()
    page.wait_for_url(lambda url: "sets=model:dcnv2,scale:2,seeds:3,table:0,rate:0.003" in url)
    page.reload()
    page.wait_for_selector("[data-live] .ec-status:not(:empty)")
    assert page.get_by_label("Model").input_value() == "dcnv2"


def test_an_impossible_setting_in_the_address_is_named_until_the_reader_chooses(
    opened: Open,
) -> None:
    page = opened("collapse", "?collapse=few:3,width:99", reduced_motion="reduce")
    notice, status = (page.locator(f".ec-{name}") for name in ("notice", "status"))
    expect(notice).to_contain_text("The address asks for “width:99”; accepted: 3, 4")
    assert rows(page, 0)[0][0] == "D₃ = 3"
    page.get_by_role("button", name="Next 250 steps").click()
    expect(status).to_contain_text("step 250")
    expect(notice).to_be_visible()
    page.locator("input[name=seed]").focus()
    page.keyboard.press("ArrowRight")
    expect(notice).to_be_hidden()
    expect(status).to_contain_text("at step 0")
    asked = "?collapse=few:3,many:100,width:3,rate:1,seed:1,row:1#ec-collapse"
    page.wait_for_url(lambda url: url.endswith(asked))
    shown = rows(page, 0)
    page.reload()
    expect(status).to_contain_text("at step 0")
    assert rows(page, 0) == shown


def test_a_slider_that_is_dragged_changes_the_address_once(opened: Open) -> None:
    script = """
        window.kept = 0;
        const { replaceState } = History.prototype;
        History.prototype.replaceState = function (...of) {
            window.kept++;
            replaceState.apply(this, of);
        };
    """
    page = opened("collapse", script=script, reduced_motion="reduce")
    page.locator("input[name=seed]").evaluate(
        """it => {
            for (const value of [1, 2, 3, 4]) {
                it.value = value;
                it.dispatchEvent(new Event("input"));
            }
        }"""
    )
    page.wait_for_url(lambda url: "seed:" in url)
    assert page.evaluate("window.kept") == 1


def test_what_plays_stops_when_the_reader_wants_no_motion(opened: Open) -> None:
    page = opened("collapse", reduced_motion="reduce")
    page.emulate_media(reduced_motion="no-preference")
    page.get_by_role("button", name="Play", exact=True).click()
    page.wait_for_function(
        "Number(document.querySelector('.ec-readout td:nth-child(2)').textContent) > 9"
    )
    told = page.locator(".ec-cloud").first.get_attribute("aria-label")
    assert told is not None and "step 0:" not in told  # it keeps up while it plays
    page.emulate_media(reduced_motion="reduce")
    expect(page.locator(".ec-status")).to_have_css("opacity", "1")
    expect(page.get_by_role("button", name="Next 250 steps")).to_be_enabled()  # it isn't through
    held = rows(page, 0)
    page.wait_for_timeout(300)
    assert rows(page, 0) == held


def test_a_rate_that_is_too_large_is_said_before_and_after(opened: Open) -> None:
    page = opened("collapse", "?collapse=rate:1000", reduced_motion="reduce")
    status, steps = page.locator(".ec-status"), page.get_by_role("button", name="Next 250 steps")
    expect(status).to_contain_text("It may diverge")
    steps.click()
    expect(status).to_contain_text("Diverged at step 1, learning rate too large.")
    assert {row[1] for row in rows(page, 0)} == {"1, diverged"}
    expect(steps).to_be_disabled()
    expect(steps).to_be_focused()
    page.get_by_role("button", name="Reset", exact=True).click()
    expect(status).to_contain_text("at step 0")


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("name", ["sets", "bottleneck"])
def test_pictures_are_described_fit_and_follow_the_theme(
    opened: Open, name: str, width: int
) -> None:
    page = opened(name, width=width, reduced_motion="reduce")
    pictures = page.locator("canvas")
    for picture in pictures.all():
        assert any(sign.isdigit() for sign in picture.get_attribute("aria-label"))
        box = picture.bounding_box()
        assert box["width"] >= 140 and box["x"] >= 0 and box["x"] + box["width"] <= width
    before = pictures.evaluate_all("all => all.map(it => it.toDataURL())")
    page.add_style_tag(content="[data-theme=dark] .ec-training { color: #eee; }")
    page.evaluate("document.documentElement.dataset.theme = 'dark'")
    page.wait_for_function(
        """before => [...document.querySelectorAll('canvas')]
            .every((it, i) => it.toDataURL() !== before[i])""",
        arg=before,
    )


@pytest.mark.parametrize("who", ["JupyterLab", "the system"])
def test_pictures_follow_whoever_chooses_the_colours(opened: Open, who: str) -> None:
    page = opened("bottleneck", color_scheme="light")
    picture = "document.querySelector('canvas').toDataURL()"
    dark = ".ec-training.ec-training { color: #eee; }"
    page.add_style_tag(content=f"[data-jp-theme-light=false] {dark}")
    page.add_style_tag(content=f"@media (prefers-color-scheme: dark) {{ {dark} }}")
    before = page.evaluate(picture)
    if who == "JupyterLab":
        page.evaluate("document.body.dataset.jpThemeLight = 'false'")
    else:
        page.emulate_media(color_scheme="dark")
    page.wait_for_function(f"before => {picture} !== before", arg=before, timeout=10_000)


def test_pictures_are_drawn_for_paper_and_anew_for_the_screen(opened: Open) -> None:
    page = opened("bottleneck", width=1600)
    drawn = """[...document.querySelectorAll("canvas")].map(it => [it.width, it.clientWidth])"""
    screen = page.evaluate(drawn)
    # told and drawn in one go: nothing comes between it and the paper
    paper = page.evaluate(f"dispatchEvent(new Event('beforeprint')), {drawn}")
    assert all(width == wide for width, wide in paper)
    assert sum(width for width, _ in paper) <= 610 < sum(width for width, _ in screen)
    assert page.evaluate(f"dispatchEvent(new Event('afterprint')), {drawn}") == screen


def test_a_finger_turns_a_cloud_where_moves_have_no_movement(opened: Open) -> None:
    gone = "delete MouseEvent.prototype.movementX"
    page = opened("collapse", script=gone, reduced_motion="reduce")
    picture = "document.querySelector('.ec-cloud').toDataURL()"
    page.locator(".ec-cloud").first.scroll_into_view_if_needed()
    box = page.locator(".ec-cloud").first.bounding_box()
    middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(*middle)
    before = page.evaluate(picture)
    page.mouse.down()
    page.mouse.move(middle[0] + 64, middle[1])
    page.wait_for_function(f"before => {picture} !== before", arg=before)
    page.mouse.move(*middle)
    page.wait_for_function(f"before => {picture} === before", arg=before)


def test_in_forced_colours_the_keys_to_the_lines_keep_theirs(opened: Open) -> None:
    page = opened("collapse", reduced_motion="reduce", forced_colors="active")
    runs = page.locator(".ec-run").evaluate_all(
        "all => all.map(it => getComputedStyle(it).borderLeftColor)"
    )
    assert len({*runs}) == len(runs) == 2
    signs = page.locator(".ec-key [aria-hidden]")
    inks = signs.evaluate_all("all => all.map(it => getComputedStyle(it).color)")
    assert inks == signs.evaluate_all("all => all.map(it => it.style.color)")


def test_a_browser_without_aria_properties_hears_what_a_figure_says(opened: Open) -> None:
    script = """
        for (const name of Object.getOwnPropertyNames(Element.prototype))
            if (/^(aria[A-Z]|role$)/.test(name)) delete Element.prototype[name];
    """
    page = opened("sets", script=script, reduced_motion="reduce")
    for picture in page.locator("canvas").all():
        assert picture.get_attribute("role") == "img"
        assert any(sign.isdigit() for sign in picture.get_attribute("aria-label"))
    sliders = page.locator("input[type=range]")
    assert sliders.count() == page.locator("input[type=range][aria-valuetext]").count() > 0
    assert page.get_by_role("button", name="Step").get_attribute("aria-disabled") == "false"


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("readable", [True, False])
def test_a_worker_that_dies_is_told_and_reset_begins_anew(
    opened: Open, order: int, readable: bool
) -> None:
    told = "out of memory" if readable else "an answer that cannot be read"
    script = f"""
        let orders = 0;
        const {{ postMessage }} = Worker.prototype;
        Worker.prototype.postMessage = function (order) {{
            if (++orders !== {order}) return postMessage.call(this, order);
            if ({json.dumps(readable)})
                this.onerror(new ErrorEvent("error", {{ message: "out of memory" }}));
            else this.dispatchEvent(new MessageEvent("messageerror"));
        }};
    """
    page = opened("sets", script=script, reduced_motion="reduce")
    status, step = page.locator(".ec-status"), page.get_by_role("button", name="Step", exact=True)
    if order == 2:
        expect(status).to_contain_text("Seed 0, step 0.")
        step.click()
    expect(status).to_have_text(f"The training stopped ({told}). Reset starts it again.")
    wait_for_workers(page, 0)  # it may be stuck
    page.get_by_role("button", name="Reset", exact=True).click()
    expect(status).to_contain_text("Seed 0, step 0.")
    step.click()
    expect(status).to_contain_text("Seed 0, step 1.")
    wait_for_workers(page, 1)


@pytest.mark.parametrize("name", ["sets", "bottleneck"])
def test_all_of_it_answers_to_the_keyboard(opened: Open, name: str) -> None:
    page = opened(name, reduced_motion="reduce")
    controls = page.locator(".ec-training :is(button, input, select)")
    controls.first.focus()
    for number in range(controls.count()):
        assert controls.nth(number).evaluate("it => it === document.activeElement")
        page.keyboard.press("Tab")


def test_a_rank_that_is_turned_down_bounds_the_product(opened: Open) -> None:
    page = opened("bottleneck", has_touch=True, width=390)
    slider = page.get_by_label("Rank of E₂")
    for rank in (3, 2, 1):
        made = bottleneck.product(**bottleneck.START | {"rank": rank})
        _, held, both = rows(page, 0)
        assert (held[1], both[1]) == (str(rank), str(rank))
        assert float(both[3]) == pytest.approx(made.both[0].item(), abs=0.06)
        slider.press("ArrowLeft")
    box = slider.bounding_box()
    page.touchscreen.tap(box["x"] + box["width"] - 4, box["y"] + box["height"] / 2)
    expect(page.locator(".ec-readout td:nth-child(2)").nth(2)).to_have_text("10")


@pytest.mark.parametrize("name", ["collapse", "sets"])
def test_a_page_opened_as_a_file_trains_in_a_worker_too(
    opened: Open, folder: Path, name: str
) -> None:
    page = opened(name, base=folder.as_uri(), reduced_motion="reduce")
    assert len(page.workers) == 1
    page.get_by_role("button", name="Step", exact=True).click()
    expect(page.locator(".ec-status")).to_contain_text("step 1.")


@pytest.mark.parametrize("name", FIGURES)
def test_a_widget_is_the_same_figure_and_can_be_left(opened: Open, name: str) -> None:
    page = opened(f"{name}_widget", reduced_motion="reduce")
    assert page.locator("canvas").count() >= 3
    if name != "bottleneck":
        page.get_by_role("button", name="Step", exact=True).click()
        expect(page.locator(".ec-status")).to_contain_text("step 1.")
    page.evaluate("window.leave()")


def test_a_widget_leaves_a_figure_that_another_has_opened_alone(opened: Open) -> None:
    script = """
        window.made = 0;
        window.Worker = class extends Worker {
            constructor(...of) { super(...of); window.made++; }
        };
    """
    page = opened("sets_widget", script=script, reduced_motion="reduce")
    page.evaluate(
        """async () => {
            await import("./sets.widget.js?evaluated_again");
            const section = document.querySelector(".ec-training");
            const looked = (act) => new IntersectionObserver(act).observe(section);
            await new Promise(looked); // after the widget has
        }"""
    )
    assert page.evaluate("window.made") == 1
