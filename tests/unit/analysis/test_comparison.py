"""Arms side by side: who is compared with whom, and what the tables say of it."""

import csv
import dataclasses
import io
import json

import numpy as np
import pytest

from study.analysis.arm_scores import build_arm_scores, build_score_pool, build_score_pool_from_runs
from study.analysis.comparison import compare_arms
from study.analysis.paired import estimate_difference, macro_weights
from study.errors import InputError
from study.metrics import density_fifths
from study.reporting.formatting import Column, frame_of, render_table
from study.reporting.tables import COLUMNS, UNEQUAL, comparison_frame, format_caveats

SINGLE = {"features": "counts", "technique": "single"}


@pytest.fixture(scope="module")
def pool(launched):
    return build_score_pool(launched[1])


@pytest.fixture(scope="module")
def compared(pool):
    return compare_arms([pool])


def of(compared, technique):
    return next(each for each in compared if each.summary.arm.technique == technique)


def test_a_gain_is_the_paired_difference_to_the_head(compared, pool):
    balancer, head = of(compared, "label_balancer"), of(compared, "mlp_head")
    assert head.rival is None
    sides = [
        build_arm_scores(pool.results[each.summary.arm.id], len(pool.groups), groups=pool.groups)
        for each in (balancer, head)
    ]
    expected = estimate_difference(*sides, pool.groups, macro_weights(len(pool.positives)))
    assert balancer.rival.macro == expected
    folds = np.subtract(balancer.summary.folds, head.summary.folds)
    assert balancer.rival.macro.estimate == pytest.approx(folds.mean())
    assert balancer.level.mean == pytest.approx(balancer.summary.auroc)


def test_a_gain_is_over_the_trials_that_both_arms_have(launched):
    _, record, _ = launched
    gone, head = "label_balancer", "mlp_head"
    kept = {
        key: result
        for key, result in record.by_id.items()
        if (result.spec.arm.technique, result.spec.fold) != (gone, 0)
    }
    compared = compare_arms([build_score_pool(dataclasses.replace(record, by_id=kept))])
    rival, (one,) = of(compared, gone).rival, of(compared, gone).summary.folds
    assert rival.macro.estimate == pytest.approx(one - of(compared, head).summary.folds[1])
    assert len(rival.macro.folds) == 1
    kept = {key: r for key, r in kept.items() if r.spec.arm.technique != gone}
    compared = compare_arms([build_score_pool(dataclasses.replace(record, by_id=kept))])
    assert of(compared, gone).rival is None


def test_a_sparse_gain_is_that_of_the_labels_with_the_fewest_positives(compared, pool):
    balancer, head = (of(compared, name) for name in ("label_balancer", "mlp_head"))
    rarest = density_fifths(pool.positives) == 4
    sides = [
        np.mean([r.auroc[rarest].mean() for r in pool.results[each.summary.arm.id]])
        for each in (balancer, head)
    ]
    assert balancer.rival.sparse.estimate == pytest.approx(sides[0] - sides[1])


def test_a_baseline_is_every_other_arm_s_reference(pool):
    compared = compare_arms([pool], SINGLE)
    assert {str(e.rival.reference) for e in compared if e.rival} == {"counts / single / 1"}
    assert sum(each.rival is None for each in compared) == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"features": "nothing"}, "the baseline features=nothing is no arm of tiny; columns: stu"),
        ({"technique": "single"}, "technique=single stands for 2 arms: .*; name more of its col"),
    ],
)
def test_a_baseline_that_is_not_one_arm_is_refused(pool, words, message):
    with pytest.raises(InputError, match=message):
        compare_arms([pool], words)


def test_arms_of_another_study_are_paired_if_its_folds_are_the_same(
    pool, tiny, spec_of, run_tiny, tmp_path
):
    other = {**tiny, "name": "other", "grid": [{"features": [["counts"]]}]}
    other["training"] = {**tiny["training"], "epochs": 3}
    elsewhere = build_score_pool(run_tiny(spec_of(other, tmp_path))[1])
    with pytest.raises(InputError, match="stands for 2 arms"):
        compare_arms([pool, elsewhere], SINGLE)
    mine = {**SINGLE, "study": "other"}
    assert of(compare_arms([pool, elsewhere], mine), "mlp_head").rival.study == "other"
    moved = {**other, "split": {**tiny["split"], "seed": 5}}
    apart = build_score_pool(run_tiny(spec_of(moved, tmp_path / "apart"))[1])
    assert {e.rival for e in compare_arms([pool, apart], mine) if e.study == "tiny"} == {None}


def test_results_without_their_table_give_the_same_rows(launched, compared):
    _, record, _ = launched
    pages = build_score_pool_from_runs(record.spec, list(record.by_id.values()), record.data.split)
    assert comparison_frame(compare_arms([pages])).equals(comparison_frame(compared))


def test_pages_that_lack_a_fold_are_refused(launched):
    _, record, _ = launched
    some = [result for result in record.by_id.values() if result.spec.fold == 0]
    with pytest.raises(InputError, match="hold 1 of 2 folds"):
        build_score_pool_from_runs(record.spec, some, record.data.split)


def test_json_and_csv_carry_the_numbers(compared):
    frame = comparison_frame(compared, studies=True)
    read = json.loads(render_table(frame, COLUMNS, "json"))
    balancer = next(row for row in read if row["technique"] == "label_balancer")
    assert balancer["gain_low"] < balancer["gain"] < balancer["gain_high"]
    assert " / mlp_head / concat" in balancer["reference"]
    lines = list(csv.DictReader(io.StringIO(render_table(frame, COLUMNS, "csv"))))
    assert [line["auroc"] for line in lines] == [str(each.summary.auroc) for each in compared]
    assert [row["auroc"] for row in read] == [each.summary.auroc for each in compared]
    assert (read[0]["gain"], read[0]["verdict"]) == (None, None)
    assert (lines[0]["gain"], lines[0]["study"]) == ("", "tiny")


def test_tables_for_readers(compared):
    frame = comparison_frame(compared)
    table = render_table(frame, COLUMNS, "table").splitlines()
    assert table[0].split() == [w for c in COLUMNS[2:] for w in c.heading.split()]
    markdown = render_table(frame, COLUMNS, "md").splitlines()
    assert len(markdown) == len(frame) + 2
    assert len({line.count("|") for line in markdown}) == 1
    latex = render_table(frame, COLUMNS, "latex").splitlines()
    assert latex[0] == r"\begin{tabular}{llllrrrrrrlrl}"
    assert any(r"mlp\_head" in line for line in latex)
    assert len({line.count("&") for line in latex[2:3] + latex[4:-2]}) == 1


VALUES = [{"a|b": "x|y_%", "n": 0.1 + 0.2, "k": 3}, {"a|b": None, "n": None, "more": 1e-20}]
HEADED = (Column("a|b", "a|b"), Column("n", "n", ".2f"), Column("absent", "absent"))
TEXTS = {
    "table": """\
a|b       n
-----  ----
x|y_%  0.30
-         -
""",
    "csv": """\
a|b,n,k,more
x|y_%,0.30000000000000004,3,
,,,1e-20
""",
    "md": r"""
| a\|b   |    n |
|:-------|-----:|
| x\|y_% | 0.30 |
| -      |    - |
""".lstrip(),
    "latex": r"""
\begin{tabular}{lr}
\toprule
a|b & n \\
\midrule
x|y\_\% & 0.30 \\
- & - \\
\bottomrule
\end{tabular}
""".lstrip(),
}


@pytest.mark.parametrize("kind", TEXTS)
def test_text_of_a_table_by_hand(kind):
    assert render_table(frame_of(VALUES), HEADED, kind) == TEXTS[kind]


def test_json_keeps_every_number_as_it_is():
    first, second = json.loads(render_table(frame_of(VALUES), HEADED, "json"))
    assert first == {"a|b": "x|y_%", "n": 0.1 + 0.2, "k": 3, "more": None}
    assert isinstance(first["k"], int)
    assert second == {"a|b": None, "n": None, "k": None, "more": 1e-20}


def test_a_table_without_rows_is_no_error():
    assert json.loads(render_table(frame_of([]), HEADED, "json")) == []
    for kind in ("table", "md", "csv"):
        assert render_table(frame_of([]), HEADED, kind).strip() == ""


def test_an_ensemble_beside_a_single_model_is_marked(compared):
    mean = of(compared, "independent_mean")
    assert not mean.rival.equal_size
    assert comparison_frame([mean])["verdict"][0].endswith(" *")
    assert UNEQUAL in format_caveats(compared)
