import pandas as pd

from galutils.evaluation.conclusion import conclude


def table(*rows, seeds=3):
    columns = ["approach", "built", "pretrained", "accuracy", "low", "high"]
    return pd.DataFrame(rows, columns=columns).assign(supervised=True, seeds=seeds, num_classes=10)


def comparison(first, second, difference, p):
    return {
        "first": first, "second": second, "galaxies": 200, "difference": difference, "low": difference - 0.05,
        "high": difference + 0.05, "mcnemar_holm": p, "bootstrap_holm": p, "real": p < 0.05,
    }  # fmt: skip


ROWS = (("A", True, False, 0.60, 0.53, 0.67), ("B", False, True, 0.75, 0.69, 0.81), ("C", False, True, 0.5, 0.4, 0.6))


def pairs(ab, ac=0.04, cb=0.0001, difference=0.15):
    return pd.DataFrame(
        [comparison("A", "B", difference, ab), comparison("A", "C", -0.1, ac), comparison("C", "B", 0.25, cb)]
    )


def test_adapting_wins_where_the_test_says_so():
    text = conclude(table(*ROWS), pairs(0.0001))
    assert "B, reaches 75.0% (95% interval 69.0% to 81.0%)" in text
    assert "Adapting wins here: on the same 200 galaxies the adapted one is 15.0 points better" in text
    assert "+10.0 to +20.0; corrected for 3 comparisons, p < 0.001 by McNemar's test" in text
    assert "Every difference between these networks is real." in text


def test_the_words_change_with_the_numbers():
    undecided = conclude(table(*ROWS), pairs(0.06, ac=0.2))
    assert "wins" not in undecided
    assert "do not decide between them" in undecided
    assert "p = 0.060" in undecided
    assert "Not decided: A against B; A against C." in undecided
    built = conclude(table(("A", True, False, 0.9, 0.85, 0.94), *ROWS[1:]), pairs(0.001, difference=-0.15))
    assert "Building wins here: on the same 200 galaxies the adapted one is 15.0 points worse" in built


def test_the_order_of_a_pair_does_not_matter():
    turned = pd.DataFrame([comparison("B", "A", -0.15, 0.0001)])
    assert "Adapting wins here" in conclude(table(*ROWS), turned)
    assert "+10.0 to +20.0; corrected for 1 comparison," in conclude(table(*ROWS), turned)


def test_without_a_common_test_nothing_is_decided():
    text = conclude(table(*ROWS), pairs(0.001).iloc[:0])
    assert "not tested on the same galaxies" in text
    assert "wins" not in text


def test_a_pair_that_has_been_told_of_is_not_told_again():
    alone = pd.DataFrame([comparison("A", "B", 0.02, 0.5)])
    text = conclude(table(*ROWS[:2]), alone)
    assert "do not decide between them" in text
    assert "Not decided" not in text


def test_one_seed_is_said():
    assert "There was one seed" in conclude(table(*ROWS, seeds=1), pairs(0.001))
    assert "and for 1 to 3 seeds." in conclude(table(*ROWS).assign(seeds=[3, 1, 2]), pairs(0.001))
    assert "and for 3 seeds." in conclude(table(*ROWS), pairs(0.001))


def test_without_pretrained_weights_there_is_no_answer():
    control = table(
        ("A", True, False, 0.6, 0.5, 0.7), ("D", True, False, 0.5, 0.4, 0.6), ("B", False, False, 0.9, 0.8, 1)
    )
    text = conclude(control, pd.DataFrame([comparison("A", "D", -0.1, 0.3), comparison("A", "B", 0.3, 0.001)]))
    assert "cannot say" in text
    assert "best of those built from scratch was A with 60.0%" in text
    assert "Not decided: A against D." in text
    assert "wins" not in text
    assert "was built from scratch" in conclude(control.assign(built=False, pretrained=True), pairs(0.001))


def test_clusterings_do_not_answer_whether_to_build_or_adapt():
    numbers = table(*ROWS[:2]).assign(supervised=[True, False])
    assert "no network started from pretrained weights" in conclude(numbers, pairs(0.001).iloc[:0])
    assert "none of them learnt from labels" in conclude(numbers.assign(supervised=False), pairs(0.001))


def test_without_pretrained_weights_only_what_was_built_is_compared():
    rows = (
        ("A", True, False, 0.6, 0.53, 0.67),
        ("D", True, False, 0.3, 0.23, 0.37),
        ("C", False, False, 0.3, 0.2, 0.4),
    )
    tests = pd.DataFrame([comparison("A", "D", -0.3, 0.0001), comparison("D", "C", 0.0, 1.0)])
    text = conclude(table(*rows), tests)
    assert "Every difference between those built from scratch is real." in text
    assert "Not decided" not in text
