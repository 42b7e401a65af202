"""Comparison of arms: references, baselines, and the tables in every format."""

import csv
import dataclasses
import io
import json

import numpy as np
import pytest

from study.analysis.arm_scores import build_arm_scores, build_score_pool, build_score_pool_from_runs
from study.analysis.comparison import compare_arms
from study.analysis.paired import build_macro_weights, estimate_difference
from study.errors import InputError
from study.metrics import density_fifths
from study.reporting.formatting import Column, build_frame, render_table
from study.reporting.tables import COLUMNS, UNEQUAL, build_comparison_frame, format_caveats

SINGLE = {"features": "counts", "technique": "single"}


@pytest.fixture(scope="module")
def pool(launched):
    return build_score_pool(launched[1])


@pytest.fixture(scope="module")
def compared(pool):
    return compare_arms([pool])


def find_row(compared, technique):
    return next(row for row in compared if row.summary.arm.technique == technique)


def test_gain_is_paired_difference_to_the_head(compared, pool):
    balancer, head = find_row(compared, "label_balancer"), find_row(compared, "mlp_head")
    assert head.paired is None
    sides = [
        build_arm_scores(pool.results[row.summary.arm.id], len(pool.groups), groups=pool.groups)
        for row in (balancer, head)
    ]
    expected = estimate_difference(*sides, pool.groups, build_macro_weights(len(pool.positives)))
    assert balancer.paired.macro == expected
    folds = np.subtract(balancer.summary.folds, head.summary.folds)
    assert balancer.paired.macro.estimate == pytest.approx(folds.mean())
    assert balancer.level.mean == pytest.approx(balancer.summary.auroc)


def test_gain_uses_only_shared_trials(launched):
    _, results, _ = launched
    incomplete, head = "label_balancer", "mlp_head"
    trials = {
        key: result
        for key, result in results.by_id.items()
        if (result.spec.arm.technique, result.spec.fold) != (incomplete, 0)
    }
    compared = compare_arms([build_score_pool(dataclasses.replace(results, by_id=trials))])
    paired, (one,) = (
        find_row(compared, incomplete).paired,
        find_row(compared, incomplete).summary.folds,
    )
    assert paired.macro.estimate == pytest.approx(one - find_row(compared, head).summary.folds[1])
    assert len(paired.macro.folds) == 1
    trials = {key: r for key, r in trials.items() if r.spec.arm.technique != incomplete}
    compared = compare_arms([build_score_pool(dataclasses.replace(results, by_id=trials))])
    assert find_row(compared, incomplete).paired is None


def test_sparse_gain_uses_the_rarest_labels(compared, pool):
    balancer, head = (find_row(compared, name) for name in ("label_balancer", "mlp_head"))
    rarest = density_fifths(pool.positives) == 4
    sides = [
        np.mean([r.auroc[rarest].mean() for r in pool.results[row.summary.arm.id]])
        for row in (balancer, head)
    ]
    assert balancer.paired.sparse.estimate == pytest.approx(sides[0] - sides[1])


def test_baseline_is_the_reference_of_all_other_arms(pool):
    compared = compare_arms([pool], SINGLE)
    assert {str(e.paired.reference) for e in compared if e.paired} == {"counts / single / 1"}
    assert sum(row.paired is None for row in compared) == 1


@pytest.mark.parametrize(
    ("baseline", "message"),
    [
        (
            {"features": "nothing"},
            "the baseline features=nothing matches no arm of tiny; columns: stu",
        ),
        ({"technique": "single"}, "technique=single matches 2 arms: .*; name more of its col"),
    ],
)
def test_baseline_must_match_exactly_one_arm(pool, baseline, message):
    with pytest.raises(InputError, match=message):
        compare_arms([pool], baseline)


def test_studies_with_equal_folds_are_paired(pool, tiny, spec_of, run_tiny, tmp_path):
    other = {**tiny, "name": "other", "grid": [{"features": [["counts"]]}]}
    other["training"] = {**tiny["training"], "epochs": 3}
    elsewhere = build_score_pool(run_tiny(spec_of(other, tmp_path))[1])
    with pytest.raises(InputError, match="matches 2 arms"):
        compare_arms([pool, elsewhere], SINGLE)
    baseline = {**SINGLE, "study": "other"}
    assert find_row(compare_arms([pool, elsewhere], baseline), "mlp_head").paired.study == "other"
    moved = {**other, "split": {**tiny["split"], "seed": 5}}
    apart = build_score_pool(run_tiny(spec_of(moved, tmp_path / "apart"))[1])
    assert {e.paired for e in compare_arms([pool, apart], baseline) if e.study == "tiny"} == {None}


def test_results_without_data_set_give_the_same_rows(launched, compared):
    _, results, _ = launched
    pages = build_score_pool_from_runs(
        results.spec, list(results.by_id.values()), results.data.split
    )
    assert build_comparison_frame(compare_arms([pages])).equals(build_comparison_frame(compared))


def test_runs_without_all_folds_are_rejected(launched):
    _, results, _ = launched
    some = [result for result in results.by_id.values() if result.spec.fold == 0]
    with pytest.raises(InputError, match="holds 1 of 2 folds"):
        build_score_pool_from_runs(results.spec, some, results.data.split)


def test_json_and_csv_have_exact_numbers(compared):
    frame = build_comparison_frame(compared, studies=True)
    read = json.loads(render_table(frame, COLUMNS, "json"))
    balancer = next(row for row in read if row["technique"] == "label_balancer")
    assert balancer["gain_low"] < balancer["gain"] < balancer["gain_high"]
    assert " / mlp_head / concat" in balancer["reference"]
    lines = list(csv.DictReader(io.StringIO(render_table(frame, COLUMNS, "csv"))))
    assert [line["auroc"] for line in lines] == [str(row.summary.auroc) for row in compared]
    assert [row["auroc"] for row in read] == [row.summary.auroc for row in compared]
    assert (read[0]["gain"], read[0]["verdict"]) == (None, None)
    assert (lines[0]["gain"], lines[0]["study"]) == ("", "tiny")


def test_text_formats_have_aligned_columns(compared):
    frame = build_comparison_frame(compared)
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
def test_table_text_by_hand(kind):
    assert render_table(build_frame(VALUES), HEADED, kind) == TEXTS[kind]


def test_json_does_not_convert_numbers():
    first, second = json.loads(render_table(build_frame(VALUES), HEADED, "json"))
    assert first == {"a|b": "x|y_%", "n": 0.1 + 0.2, "k": 3, "more": None}
    assert isinstance(first["k"], int)
    assert second == {"a|b": None, "n": None, "k": None, "more": 1e-20}


def test_empty_table_is_valid():
    assert json.loads(render_table(build_frame([]), HEADED, "json")) == []
    for kind in ("table", "md", "csv"):
        assert render_table(build_frame([]), HEADED, kind).strip() == ""


def test_ensemble_against_single_model_is_marked(compared):
    mean = find_row(compared, "independent_mean")
    assert not mean.paired.equal_size
    assert build_comparison_frame([mean])["verdict"][0].endswith(" *")
    assert UNEQUAL in format_caveats(compared)
