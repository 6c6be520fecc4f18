"""Which experts each task uses, and so which of them will be needed soon."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gearshift.graph.graph import Graph
from gearshift.graph.shapes import bank_size

Shares = Mapping[str, Sequence[Sequence[float]]]
"""By task, for every bank in the order of a run, the share of its choices on each expert."""

LEARNING_RATE = 1 / 8
"""Weight of the newest run in every average: half of what an average knows is five runs old."""
LIKELY = 0.5
"""An expert above this chance is expected to be used; nobody knows anything at this one."""
LEAST_CHANCE = 1e-9


class ExpertProfile:
    """Per task and bank, the chance that a run chooses each expert; learnt from the runs.

    A run visits every bank once, in one order, and then the next run begins, of the same task or
    of another. How often it is the same, and each task's part of the runs, is learnt as well.
    """

    def __init__(
        self, banks: Mapping[str, int], shares: Shares | None = None, choices: int = 1
    ) -> None:
        """Start from what the model's card says.

        Args:
            banks: experts by mixture, in the order of a run.
            shares: see `card_shares`; a task that is not there starts at one half everywhere.
            choices: tokens x top_k of one run. An expert with the share s of so many independent
                choices is chosen at all with the chance 1 - (1 - s)^choices.
        """
        self._banks = dict(banks)
        self._chance: dict[str, dict[str, list[float]]] = {
            task: {
                bank: [1 - (1 - share) ** choices for share in row]
                for bank, row in zip(banks, rows, strict=True)
            }
            for task, rows in (shares or {}).items()
        }
        self._traffic: dict[str, float] = {}
        self._staying = 1.0
        self._task = ""
        self._next_run: dict[str, list[float]] = {}

    def begin(self, task: str) -> None:
        """A run of `task` starts."""
        if self._traffic:
            self._staying += LEARNING_RATE * ((task == self._task) - self._staying)
            for other in self._traffic:
                self._traffic[other] *= 1 - LEARNING_RATE
            self._traffic[task] = self._traffic.get(task, 0.0) + LEARNING_RATE
        else:
            self._traffic[task] = 1.0
        self._task = task
        if task not in self._chance:
            self._chance[task] = {bank: [LIKELY] * size for bank, size in self._banks.items()}
        self._next_run = {bank: self._expected(bank) for bank in self._banks}

    def learn(self, bank: str, tokens_per_expert: Sequence[int]) -> None:
        """What the present run chose in one bank."""
        chance = self._chance[self._task][bank]
        for expert, tokens in enumerate(tokens_per_expert):
            chance[expert] += LEARNING_RATE * ((tokens > 0) - chance[expert])
        self._next_run[bank] = self._expected(bank)

    def likely(self, bank: str, after: str | None) -> list[int]:
        """The experts that the next visit of `bank` is expected to use, the likeliest first.

        `after` is the bank that the run is at, or None before the first.
        """
        chance = self._next_visit(bank, self._is_ahead(bank, after))
        found = [expert for expert, value in enumerate(chance) if value > LIKELY]
        return sorted(found, key=lambda expert: -chance[expert])

    def waits(self, after: str | None) -> dict[str, list[float]]:
        """By bank and expert: in how many banks' time it is expected to be used next.

        The next visit of a bank is `distance` banks away and uses the expert with the chance `q`;
        if it does not, each later one does with the chance `p`, and visits are one run apart:
        distance + (1 - q) banks / p, the mean of a geometric distribution.
        """
        number = len(self._banks)
        order = list(self._banks)
        start = -1 if after is None else order.index(after)
        found = {}
        for place, bank in enumerate(order):
            distance = (place - start - 1) % number + 1
            now = self._next_visit(bank, place > start)
            found[bank] = [
                distance + (1 - q) * number / max(p, LEAST_CHANCE)
                for q, p in zip(now, self._next_run[bank], strict=True)
            ]
        return found

    def _is_ahead(self, bank: str, after: str | None) -> bool:
        """Whether the present run has yet to visit the bank."""
        order = list(self._banks)
        return after is None or order.index(bank) > order.index(after)

    def _next_visit(self, bank: str, is_ahead: bool) -> list[float]:
        return self._chance[self._task][bank] if is_ahead else self._next_run[bank]

    def _expected(self, bank: str) -> list[float]:
        """Chances in the next run, whose task is not known yet."""
        tasks = dict.fromkeys(self._traffic, 0.0)
        for task, part in self._traffic.items():
            tasks[task] += (1 - self._staying) * part
        tasks[self._task] += self._staying
        rows = [(weight, self._chance[task][bank]) for task, weight in tasks.items()]
        return [
            sum(weight * chance[expert] for weight, chance in rows)
            for expert in range(self._banks[bank])
        ]


def card_shares(graph: Graph) -> Shares:
    """`expert_share` of the card's metrics, which are free-form; empty if it is not `Shares`."""
    experts = [bank_size(node) for node in graph.trunk if node.operator == "ExpertMixture"]
    found = graph.card.metrics.get("expert_share")
    if not isinstance(found, dict) or not all(_fits(rows, experts) for rows in found.values()):
        return {}
    return found


def _fits(rows: object, experts: Sequence[int]) -> bool:
    return (
        isinstance(rows, list)
        and len(rows) == len(experts)
        and all(isinstance(row, list) for row in rows)
        and [len(row) for row in rows] == list(experts)
        and all(isinstance(x, int | float) and 0 <= x <= 1 for row in rows for x in row)
    )
