import re
from html import unescape

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib import pyplot as plt

from galutils.clustering.null import chance_plane
from galutils.data.classes import GALAXY10, numbered, short_names
from galutils.report.figures import display, galleries, plots, statistics


@pytest.fixture(autouse=True)
def no_figure_is_in_the_registry_of_pyplot():
    yield
    assert plt.get_fignums() == []


def texts(figure):
    return [word for ax in figure.axes for word in words_of(ax.texts)]


def counts_of(classes):
    return np.random.default_rng(classes).poisson(2, (classes, classes))


def legend_of(figure):
    (legend,) = figure.legends
    return words_of(legend.get_texts())


def words_of(labels):
    return [label.get_text() for label in labels]


def drawn(ax):
    """What stands on axes: the intervals' two ends, and the points with whether they are filled."""
    lines = [line for line in ax.collections if isinstance(line, mpl.collections.LineCollection)]
    intervals = [segment.tolist() for line in lines for segment in line.get_segments()]
    dots = [dots for dots in ax.collections if isinstance(dots, mpl.collections.PathCollection)]
    points = {
        tuple(place): color.tolist() != [1, 1, 1, 1]
        for dot in dots
        for place, color in zip(dot.get_offsets().tolist(), dot.get_facecolors(), strict=True)
    }
    return intervals, points


@pytest.mark.parametrize("classes", [numbered(2), GALAXY10])
def test_every_cell_of_a_matrix_has_its_count_to_read_and_to_click(classes):
    table = counts_of(len(classes))
    figure = plots.confusion_matrices({"A": table, "B": table.T}, classes)
    parts = display.draw_svg(figure).split("data-matrix=")[1:]
    for part, ax, own in zip(parts, figure.axes, (table, table.T), strict=True):
        cells = re.findall(r'<g data-cell="(\d+) (\d+) (\d+)">\s*<path [^>]*style="([^"]*)"', part)
        numbers = [tuple(map(int, cell[:3])) for cell in cells]
        assert numbers == [(*place, own[place]) for place in np.ndindex(own.shape)]
        # A pointer feels only what is filled, and the page's style sheet may draw a frame only where there is none.
        assert {style for *_, style in cells} == {"fill-opacity: 0.004"}
        words = {text.get_position(): text.get_text() for text in ax.texts}
        assert words == {(j + 0.5, i + 0.5): str(own[i, j]) for i, j in np.ndindex(own.shape) if own[i, j]}
        assert words_of(ax.get_xticklabels()) == words_of(ax.get_yticklabels()) == short_names(classes)


def test_a_matrix_is_clear_where_empty_and_never_hides_its_words():
    (ax,) = plots.confusion_matrices({"A": np.diag([3, 0, 5])}, numbered(3)).axes
    mesh = ax.collections[0]
    mesh.update_scalarmappable()
    np.testing.assert_allclose(mesh.get_facecolors()[:, 3], np.diag([0.75, 0, 0.75]).ravel(), atol=0.01)
    for ink, ground in (("#18212c", "#ffffff"), ("#e3e9f0", "#10161d")):  # of the report's style sheet
        cell = 0.75 * np.array(display.PALETTE[0]) + 0.25 * np.array(mpl.colors.to_rgb(ground))
        dark, light = sorted(map(luminance, (cell, mpl.colors.to_rgb(ink))))
        assert (light + 0.05) / (dark + 0.05) > 4.5


def luminance(color):
    linear = [share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in color]
    return np.dot([0.2126, 0.7152, 0.0722], linear)


@pytest.mark.parametrize("title", ["plain", 'the "deep" one', "it's & <b>", """both " and ' & <"""])
def test_a_matrix_keeps_any_title(title):
    svg = display.draw_svg(plots.confusion_matrices({title: counts_of(3)}, numbered(3)))
    assert [unescape(found) for _, found in re.findall(r"""data-matrix=(["'])(.*?)\1""", svg)] == [title]


def test_a_drawing_takes_the_colours_of_its_page():
    svg = display.draw_svg(statistics.ablation_chart(ABLATIONS))
    assert not re.search("#(000000|262626|ffffff)", svg.replace("var(--paper, #ffffff)", ""))
    assert svg.count("fill: var(--paper, #ffffff)") == 1  # the marker that is hollow


@pytest.mark.parametrize("classes", [1, 8, 10, 11, 25])
def test_there_are_as_many_colours_as_classes(classes):
    colors = display.class_palette(classes)
    assert len(set(colors)) == classes
    assert min(map(max, colors)) > 0.3  # none is lost on a dark page


@pytest.mark.parametrize("ground", ["#ffffff", "#10161d"])
def test_up_to_ten_colours_of_classes_stand_out_on_both_grounds(ground):
    """Okabe and Ito's orange and sky blue by little, on white; others by the 3 that is asked of graphics."""
    for color in display.class_palette(10):
        dark, light = sorted(luminance(mpl.colors.to_rgb(own)) + 0.05 for own in (color, ground))
        pale = mpl.colors.to_hex(color) in ("#e69f00", "#56b4e9")
        assert light / dark > (2.2 if pale else 3), color


def test_of_hundreds_of_classes_a_matrix_marks_what_occurs():
    table = np.zeros((110, 110), int)
    table[3, 100] = 7
    figure = plots.confusion_matrices({"A": table}, numbered(110))
    assert re.findall('data-cell="(.*?)"', display.draw_svg(figure)) == ["3 100 7"]
    assert words_of(figure.axes[0].get_xticklabels()) == [*numbered(110)[::3]]
    assert max(figure.get_size_inches()) < 12


def test_an_eleventh_class_is_drawn():
    labels = np.array([0, 2, 10, 10])
    figure = plots.embedding_scatter(np.arange(8.0).reshape(4, 2), labels, numbered(11))
    assert legend_of(figure) == ["class 0", "class 2", "class 10"]


def test_bars_are_the_galaxies_of_each_class():
    labels = np.array([0, 0, 0, 4, 9])
    (ax,) = plots.class_counts(labels, GALAXY10).axes
    assert [bar.get_width() for bar in ax.patches] == np.bincount(labels).tolist()
    assert words_of(ax.get_yticklabels()) == short_names(GALAXY10)
    assert words_of(ax.texts) == [str(count) for count in np.bincount(labels)]


def test_boxes_stand_at_their_classes_medians():
    table = pd.DataFrame({"class": [1, 1, 1, 7, 7, 7], "size": [1.0, 2, 9, 4, 5, np.nan], "peak": range(6)})
    figure = plots.class_distributions(table, {"size": "Size", "peak": "Peak"}, GALAXY10)
    for ax, expected in zip(figure.axes, ([(1, 2), (7, 4.5)], [(1, 1), (7, 4)]), strict=True):
        medians = [line for line in ax.lines if line.get_color() == display.PALETTE[3]]
        assert [(line.get_ydata().mean(), line.get_xdata()[0]) for line in medians] == expected
    assert words_of(figure.axes[0].get_yticklabels()) == short_names(GALAXY10)


def test_matrix_says_both_ways_what_is_told_apart_and_what_is_open():
    pairs = [("A", "B", 0.15, "better"), ("A", "C", 0.02, "open")]
    table = pd.DataFrame(pairs, columns=["first", "second", "difference", "verdict"])
    figure = statistics.difference_matrix(table, ["A", "B", "C"])
    assert texts(figure) == ["-15.0", "-2.0\nopen", "+15.0", "+2.0\nopen"]
    shown = figure.axes[0].collections[0].get_array().filled(np.nan)
    np.testing.assert_allclose(shown, [[np.nan, -15, 0], [15, np.nan, np.nan], [0, np.nan, np.nan]])


COSTS = pd.DataFrame({"approach": ["A", "B", "C"], "accuracy": [0.5, 0.4, 0.7], "low": 0.3, "high": 0.8}).assign(
    parameters=[1, 2, 3],
    multiply_adds=[1, 2, 3],
    train_images_per_second=[None, 5.0, 2.0],
    predict_images_per_second=[1.0, 2.0, 3.0],
)


def test_cost_figure_joins_what_nobody_beats_and_shows_every_known_cost_with_its_interval():
    figure = statistics.accuracy_against_cost(COSTS)
    fronts = [ax.lines[0].get_xydata().tolist() for ax in figure.axes]
    assert fronts == [[[1, 0.5], [3, 0.7]], [[1, 0.5], [3, 0.7]], [[2, 0.7], [5, 0.4]], [[3, 0.7]]]
    for ax, column in zip(figure.axes, COSTS.columns[4:], strict=True):
        intervals, points = drawn(ax)
        known = COSTS.dropna(subset=column)
        np.testing.assert_allclose(intervals, [[(cost, 0.3), (cost, 0.8)] for cost in known[column]])
        np.testing.assert_allclose([*points], known[[column, "accuracy"]])
        assert ax.get_xscale() == "log"
    assert legend_of(figure) == ["A", "B", "C"]
    unknown = statistics.accuracy_against_cost(COSTS.assign(train_images_per_second=None))
    assert [ax.get_xscale() for ax in unknown.axes] == ["log", "log", "linear", "log"]


ABLATIONS = pd.DataFrame(
    [("X", "init", "kaiming", 0.3, 0.2, 0.4, "better"), ("Y", "widths", "doubling", 0.01, -0.05, 0.07, "open")],
    columns=["approach", "parameter", "value", "difference", "difference_low", "difference_high", "verdict"],
)


def test_changes_that_are_undecided_are_hollow():
    figure = statistics.ablation_chart(ABLATIONS)
    (ax,) = figure.axes
    intervals, points = drawn(ax)
    np.testing.assert_allclose(intervals, [[(20, 0), (40, 0)], [(-5, 1), (7, 1)]])
    assert points == {(30, 0): True, (1, 1): False}
    assert words_of(ax.get_yticklabels()) == ["init = kaiming", "widths = doubling"]
    assert legend_of(figure) == ["X", "Y"]


@pytest.mark.parametrize("log", [False, True])
def test_curves_show_their_tables(log):
    ends = {"accuracy": [0.5, 0.6], "low": [0.4, 0.55], "high": [0.7, 0.65]}
    curves = {"X": pd.DataFrame({"x": [10, 1000], **ends}), "Y": pd.DataFrame({"x": [10, 20], **ends})}
    figure = statistics.accuracy_curves(curves, "Galaxies", log)
    (ax,) = figure.axes
    intervals, points = drawn(ax)
    aside = 1.025**0.5 if log else 1  # where there is room, the first stands left of the second
    left, right = (10 / aside, 1000 / aside), (10 * aside, 20 * aside)
    expected = [[[(few, 0.4), (few, 0.7)], [(many, 0.55), (many, 0.65)]] for few, many in (left, right)]
    np.testing.assert_allclose(intervals, [*expected[0], *expected[1]])
    assert {accuracy for _, accuracy in points} == {0.5, 0.6}
    np.testing.assert_allclose(
        [line.get_xydata() for line in ax.lines], [[(few, 0.5), (many, 0.6)] for few, many in (left, right)]
    )
    assert words_of(ax.get_xticklabels()) == ["10", "20", "1,000"]
    assert legend_of(figure) == ["X", "Y"]


def test_the_plane_has_chance_the_papers_box_and_each_case_twice():
    plane = chance_plane({"equal": np.full(10, 0.1), "one": np.ones(1)}, (500, 800, 17736), draws=5)
    names = ["pixels", "frozen", "tuned", "lost", "kmeans, 20 clusters, many-to-one", "hdbscan, 0 clusters, one-to-one"]
    cases = pd.DataFrame(
        {
            "cause": ["reference", "reference", "row 6", "row 6", "clusterer", "clusterer"], "case": names,
            "accuracy": [0.2, 0.25, 0.26, 0.27, 0.5, 0.0], "roc_auc_hard": [0.55, 0.56, 0.57, 0.58, 0.7, 0.5],
        }
    )  # fmt: skip
    cases = cases.assign(accuracy_full=cases["accuracy"] - 0.02, roc_auc_full=cases["roc_auc_hard"] - 0.01)
    figure = plots.accuracy_plane(plane, cases, "row 6")
    (ax,) = figure.axes
    assert legend_of(figure) == ["chance, equal", "chance, one", "reference", "tuned", "lost"]

    def points(lines):
        return {point for line in lines for point in zip(*line.get_data(), strict=True)}

    kept = cases.iloc[:4]
    named = [line for line in ax.lines if not line.get_label().startswith(("_", "chance"))]
    assert points(named) == set(zip(kept["accuracy_full"], kept["roc_auc_full"], strict=True))
    hollow = [line for line in ax.lines if line.get_markerfacecolor() == "none"]
    assert points(hollow) == set(zip(kept["accuracy"], kept["roc_auc_hard"], strict=True))
    (box,) = ax.patches
    assert box.get_bbox().extents.tolist() == pytest.approx([0.155, 0.5205, 0.165, 0.5225])
    assert texts(figure) == ["500", "17,736", "the paper"]
    assert box.get_edgecolor() == (0, 0, 0, 1)


@pytest.mark.parametrize("paper", [True, False])
def test_the_papers_accuracy_is_drawn_where_it_is_about_these_classes(paper):
    rows = {"cause": ["reference", "row 6"], "case": ["pixels", "a long name " * 8], "accuracy": [0.2, 0.25]}
    figure = plots.cause_chart(pd.DataFrame(rows).assign(chance=0.14), 0.14, paper)
    shown = ["reference", "row 6", "permuted labels, same matching", "the paper's 16%"]
    assert legend_of(figure) == (shown if paper else shown[:-1])
    (ax,) = figure.axes
    assert max(len(line) for label in words_of(ax.get_yticklabels()) for line in label.split("\n")) <= 64


def test_pictures_within_a_drawing_are_webp_and_its_words_are_text():
    image, maps = torch.randint(0, 256, (3, 32, 32)), {"DINO": np.ones((6, 4, 4))}
    svg = display.draw_svg(galleries.head_gallery(image, maps))
    assert svg.count("data:image/webp;base64,") == 7
    assert "image/png" not in svg
    assert re.findall(r">(head \d|DINO)<", svg) == ["DINO", *(f"head {i}" for i in range(1, 7))]
