"""What is measured goes into the card."""

from __future__ import annotations

from gearshift.graph import Card, TaskCard, TaskKind
from gearshift_export.demo.artifact import with_figures
from gearshift_export.demo.evaluate import TEST_SCENES, Evaluation

CARD = Card(
    "demo",
    128,
    128,
    (TaskCard("depth", TaskKind.DEPTH, 1), TaskCard("edge", TaskKind.PROBABILITY, 1)),
)


def test_figures_threshold_and_shares_reach_the_card() -> None:
    evaluation = Evaluation(
        figures={"depth": 0.123456, "edge": 0.5},
        average_predictor={"depth": 1.0, "edge": 0.25},
        edge_threshold=0.38,
        expert_share={"depth": [[0.75, 0.25]], "edge": [[0.0, 1.0]]},
    )
    card = with_figures(CARD, evaluation)
    assert [task.threshold for task in card.tasks] == [0.5, 0.38]
    assert card.metrics["depth"] == {
        "metric": "RMSE, metres",
        "value": 0.1235,
        "average_predictor": 1.0,
    }
    assert card.metrics["expert_share"] == evaluation.expert_share
    assert card.metrics["test_rooms"] == TEST_SCENES
