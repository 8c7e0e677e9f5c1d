import pandas as pd

from galutils.report.figures import statistics


def texts(figure):
    return [text.get_text() for ax in figure.axes for text in ax.texts]


def test_matrix_says_both_ways_what_is_real_and_what_is_undecided():
    pairs = [("A", "B", 0.15, True), ("A", "C", 0.02, False)]
    table = pd.DataFrame(pairs, columns=["first", "second", "difference", "real"])
    assert texts(statistics.difference_matrix(table, ["A", "B", "C"])) == [
        "-15.0", "-2.0\nundecided", "+15.0", "+2.0\nundecided",
    ]  # fmt: skip


def test_cost_figure_joins_only_what_nobody_beats():
    table = pd.DataFrame({"approach": ["A", "B", "C"], "accuracy": [0.5, 0.4, 0.7], "low": 0.3, "high": 0.8})
    table = table.assign(parameters=[1, 2, 3], multiply_adds=[1, 2, 3], train_images_per_second=[None, 5.0, 2.0])
    figure = statistics.accuracy_against_cost(table.assign(predict_images_per_second=[1.0, 2.0, 3.0]))
    fronts = [ax.lines[0].get_xydata().tolist() for ax in figure.axes]
    assert fronts == [[[1, 0.5], [3, 0.7]], [[1, 0.5], [3, 0.7]], [[2, 0.7], [5, 0.4]], [[3, 0.7]]]


def test_changes_that_are_undecided_are_hollow():
    rows = [("X", "init", "kaiming", 0.3, 0.2, 0.4, True), ("X", "widths", "doubling", 0.01, -0.05, 0.07, False)]
    columns = ["approach", "parameter", "value", "difference", "difference_low", "difference_high", "real"]
    (ax,) = statistics.ablation_chart(pd.DataFrame(rows, columns=columns)).axes
    markers = [line for line in ax.lines if line.get_marker() == "o"]
    assert [marker.get_markerfacecolor() == "white" for marker in markers] == [False, True]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["init = kaiming", "widths = doubling"]
