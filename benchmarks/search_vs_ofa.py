"""Evolutionary search side by side with the original once-for-all code (PyPI `ofa`): same predictor, same MACs budget.

Both search the once-for-all MobileNetV3 space (25 input sizes) for the highest score of the same network: ofa's
AccuracyPredictor (architecture and features) with weights made here, since no trained ones can be installed. ofa's
EvolutionFinder runs its 100 x 500; netwright's evolution runs the generations given here. CPU seconds of one thread include
netwright's cost tables. Scores, and MACs by ofa's own counter, are taken from the same functions for both.

    python benchmarks/search_vs_ofa.py            # about 25 minutes: 10 seeds of three cases
    python benchmarks/search_vs_ofa.py --quick    # about 15 seconds
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import random
import statistics
import time
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import torch
from ofa.imagenet_classification.elastic_nn.networks import OFAMobileNetV3
from ofa.nas.accuracy_predictor import AccuracyPredictor, MobileNetArchEncoder
from ofa.nas.efficiency_predictor import Mbv3FLOPsModel
from ofa.nas.search_algorithm import EvolutionFinder

from netwright.core.files import write_bytes, write_json
from netwright.core.progress import say
from netwright.core.run import environment
from netwright.models.families import family
from netwright.models.family import Family
from netwright.models.space import Genes
from netwright.searching.limits.budget import Limit
from netwright.searching.strategies import evolution
from netwright.searching.tables import AdditiveTable, macs_price
from netwright.specialization.specialize import spread_sample

RESULTS = Path(__file__).parent.parent / "results"
OFA_POPULATION, OFA_GENERATIONS = 100, 500


class Predictor:
    """ofa's accuracy predictor with weights made here, scaled so that random networks spread by one percent around 75 %.

    "random": random weights only, a rugged landscape whose optimum may lie well below the budget. "capacity": the same
    network trained for some seconds to reproduce that landscape plus gains that diminish with MACs, as accuracies do, so
    that the budget binds.
    """

    def __init__(self, made: Family, landscape: str, seed: int = 0):
        self.family = made
        self.encoder = MobileNetArchEncoder(image_size_list=list(made.space.resolutions))
        torch.manual_seed(seed)
        self.model = AccuracyPredictor(self.encoder, hidden_size=400, n_layers=3, device="cpu")
        for module in self.model.modules():
            if isinstance(module, torch.nn.Linear):
                torch.nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                if module.bias is not None:
                    torch.nn.init.normal_(module.bias, std=0.1)
        self.columns = self._columns()
        genes = made.space.sample(np.random.default_rng(seed), 4096)
        if landscape == "capacity":
            self._train(seed)
        with torch.no_grad():
            raw = self.model(self._features(genes))
            self.model.layers[-1].weight *= 0.01 / raw.std()
            self.model.base_acc += 0.75 - 0.01 * raw.mean() / raw.std()
        self.model.requires_grad_(False)

    def _train(self, seed: int) -> None:
        genes = spread_sample(self.family.space, 16384, seed)
        x = self._features(genes)
        with torch.no_grad():
            rugged = self.model(x)
        logs = torch.from_numpy(np.log(AdditiveTable(self.family, macs_price)(genes))).float()
        target = 0.5 * (rugged - rugged.mean()) / rugged.std() + (logs - logs.mean()) / logs.std()
        optimizer = torch.optim.Adam(self.model.layers.parameters(), lr=1e-3)
        for step in range(400):
            rows = torch.randint(0, len(x), (512,))
            for group in optimizer.param_groups:
                group["lr"] = 1e-3 * (1 - step / 400)
            optimizer.zero_grad()
            torch.nn.functional.mse_loss(self.model(x[rows]), target[rows]).backward()
            optimizer.step()

    def _features(self, genes: Genes) -> torch.Tensor:
        return torch.from_numpy(self.family.space.features(genes) @ self.columns)

    def _columns(self) -> np.ndarray:
        """Return which of ofa's features each feature of the space is: a matrix of zeros and ones."""
        encoder, rows = self.encoder, []
        tables = {"kernels": encoder.k_info["val2id"], "expansions": encoder.e_info["val2id"]}
        for field, index, choices in self.family.space.positions:
            for choice in choices:
                row = np.zeros(encoder.n_dim, np.float32)
                if field == "resolution":
                    row[encoder.r_info["val2id"][choice]] = 1
                elif field in tables:
                    row[tables[field][index][choice]] = 1
                rows.append(row)
        return np.stack(rows)

    def __call__(self, genes: Genes) -> np.ndarray:
        """Score rows of genes."""
        return self.model(self._features(genes)).reshape(-1).double().numpy()


def to_ofa(made: Family, genes: Genes) -> dict[str, Any]:
    """Return ofa's description of an arch."""
    arch = made.space.decode(genes)
    sizes = {"ks": list(arch.kernels), "e": [int(e) for e in arch.expansions], "d": list(arch.depths)}
    return {**sizes, "image_size": arch.resolution}


def canonical_key(description: dict[str, Any]) -> tuple:
    """Return what tells two networks apart: active positions only."""
    active = [at for stage, depth in enumerate(description["d"]) for at in range(4 * stage, 4 * stage + depth)]
    return (
        description["image_size"],
        *description["d"],
        *((description["ks"][i], description["e"][i]) for i in active),
    )


def run_ofa(
    predictor: Predictor, counter: Mbv3FLOPsModel, budget_m: float, seed: int, generations: int
) -> dict[str, Any]:
    """Run ofa's finder; count cost calls and repeated candidates."""
    seen: set[tuple] = set()
    counts = {"cost_calls": 0, "scored": 0}

    class Counted:
        def get_efficiency(self, description: dict[str, Any]) -> float:
            counts["cost_calls"] += 1
            return counter.get_efficiency(description)

    class Scored:
        arch_encoder = predictor.encoder

        def predict_acc(self, descriptions: list[dict[str, Any]]) -> torch.Tensor:
            counts["scored"] += len(descriptions)
            pools.append(descriptions)
            return predictor.model.predict_acc(descriptions)

    pools: list[list[dict[str, Any]]] = []
    random.seed(seed)
    np.random.seed(seed)
    finder = EvolutionFinder(Counted(), Scored(), population_size=OFA_POPULATION, max_time_budget=generations)
    start = time.process_time()
    with contextlib.redirect_stdout(io.StringIO()):
        _, best = finder.run_evolution_search(budget_m, verbose=False)
    cpu_s = time.process_time() - start
    for pool in pools:
        seen.update(map(canonical_key, pool))
    score = float(predictor.model.predict_acc([best[1], best[1]])[0])
    repeated = 1 - len(seen) / counts["scored"]
    macs_m = counter.get_efficiency(best[1])
    return {"cpu_s": cpu_s, "score": score, "macs_m": macs_m, "repeated": repeated, **counts}


def run_netwright(
    predictor: Predictor, counter: Mbv3FLOPsModel, budget_m: float, seed: int, settings: dict[str, Any]
) -> dict[str, Any]:
    """Run evolution, tables included; check the best with ofa's own functions."""
    start = time.process_time()
    made = family("ofa-mbv3-w1.0")
    limit = Limit("macs", AdditiveTable(made, macs_price), budget_m * 1e6)
    tables_s = time.process_time() - start
    found = evolution.search(made.space, predictor, [limit], seed=seed, **settings)
    cpu_s = time.process_time() - start
    description = to_ofa(made, found.genes[0])
    score = float(predictor.model.predict_acc([description, description])[0])
    macs_m = counter.get_efficiency(description)
    repeated = 1 - len(np.unique(found.genes, axis=0)) / found.evaluated
    figures = {"cpu_s": cpu_s, "tables_s": tables_s, "score": score, "macs_m": macs_m}
    return {**figures, "repeated": repeated, "scored": found.evaluated}


def throughput(made: Family) -> dict[str, float]:
    """Return MACs evaluations a second of whole populations, median of nine runs."""
    table = AdditiveTable(made, macs_price)
    rates = {}
    for count in (1_000, 100_000):
        genes = made.space.sample(np.random.default_rng(0), count)
        times = []
        for _ in range(9):
            start = time.process_time()
            for _ in range(200_000 // count):
                table(genes)
            times.append((time.process_time() - start) / (200_000 // count))
        rates[str(count)] = count / statistics.median(times)
    return rates


def counters_agree(made: Family, counter: Mbv3FLOPsModel) -> float:
    """Return the largest relative difference between the two MACs counters over 50 random archs."""
    genes = made.space.sample(np.random.default_rng(1), 50)
    own = AdditiveTable(made, macs_price)(genes)
    theirs = np.array([counter.get_efficiency(to_ofa(made, row)) * 1e6 for row in genes])
    return float(np.abs(own / theirs - 1).max())


CASES = (("capacity", 300.0), ("capacity", 200.0), ("random", 300.0))  # landscape, million MACs


def main() -> None:
    """Run both and write results/search_vs_ofa.json and .md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one seed of one case, a tenth of ofa's generations")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--cases", type=int, default=len(CASES), help="how many of the cases, from the first")
    parser.add_argument("--population", type=int, default=200)
    parser.add_argument("--generations", type=int, default=100)
    parser.add_argument("--only-netwright", action="store_true", help="for tuning: leave ofa out, write nothing")
    options = parser.parse_args()
    torch.set_num_threads(1)
    seeds, cases = (1, CASES[:1]) if options.quick else (options.seeds, CASES[: options.cases])
    generations = OFA_GENERATIONS // 10 if options.quick else OFA_GENERATIONS
    settings = {"population": options.population, "generations": options.generations}
    made = family("ofa-mbv3-w1.0")
    counter = Mbv3FLOPsModel(OFAMobileNetV3(ks_list=[3, 5, 7], expand_ratio_list=[3, 4, 6], depth_list=[2, 3, 4]))
    predictors = {landscape: Predictor(made, landscape) for landscape in {landscape for landscape, _ in cases}}
    rows = []
    for landscape, budget_m in cases:
        for seed in range(seeds):
            row: dict[str, Any] = {"landscape": landscape, "budget_m": budget_m, "seed": seed}
            row["netwright"] = run_netwright(predictors[landscape], counter, budget_m, seed, settings)
            if not options.only_netwright:
                row["ofa"] = run_ofa(predictors[landscape], counter, budget_m, seed, generations)
            say(f"{row}")
            rows.append(row)
    if options.only_netwright:
        return
    record = {
        "settings": {"netwright": settings, "ofa": {"population": OFA_POPULATION, "generations": generations}},
        "quick": options.quick,
        "macs_evaluations_per_s": throughput(made),
        "macs_counters_largest_relative_difference": counters_agree(made, counter),
        "summary": [summary(rows, *case) for case in cases],
        "runs": rows,
        "environment": environment(),
        "date": time.strftime("%Y-%m-%d"),
    }
    name = "search_vs_ofa.quick" if options.quick else "search_vs_ofa"
    write_json(RESULTS / f"{name}.json", record)
    write_bytes(RESULTS / f"{name}.md", markdown(record).encode())
    print(markdown(record))


def summary(rows: list[dict[str, Any]], landscape: str, budget_m: float) -> dict[str, Any]:
    """Return medians over the seeds of one case."""
    chosen = [row for row in rows if row["budget_m"] == budget_m and row["landscape"] == landscape]
    result: dict[str, Any] = {"landscape": landscape, "budget_m": budget_m, "seeds": len(chosen)}
    for side in ("ofa", "netwright"):
        for figure in ("cpu_s", "score", "scored", "repeated", "macs_m"):
            result[f"{side}_{figure}"] = statistics.median(row[side][figure] for row in chosen)
    result["cpu_ratio"] = statistics.median(row["ofa"]["cpu_s"] / row["netwright"]["cpu_s"] for row in chosen)
    result["seeds_at_least_as_good"] = sum(row["netwright"]["score"] >= row["ofa"]["score"] for row in chosen)
    return result


def markdown(record: dict[str, Any]) -> str:
    """Write the record as a page."""
    lines = ["# Search: netwright's evolution against `ofa`'s EvolutionFinder", ""]
    lines += ["Medians over seeds; CPU seconds of one thread; scores by the same predictor.", ""]
    lines += [
        "| landscape, budget | side | CPU s | best score | scored | repeated | MACs of the best |",
        "|--|--|--|--|--|--|--|",
    ]
    for row in record["summary"]:
        for side in ("ofa", "netwright"):
            lines.append(
                f"| {row['landscape']}, {row['budget_m']:.0f} M | {side} | {row[f'{side}_cpu_s']:.2f} | {100 * row[f'{side}_score']:.3f} | "
                f"{row[f'{side}_scored']:.0f} | {100 * row[f'{side}_repeated']:.0f} % | {row[f'{side}_macs_m']:.1f} M |"
            )
    lines.append("")
    for row in record["summary"]:
        lines.append(
            f"{row['landscape'].capitalize()}, {row['budget_m']:.0f} M MACs: {row['cpu_ratio']:.0f} times less CPU time (median of the ratios), best score at "
            f"least as high in {row['seeds_at_least_as_good']} of {row['seeds']} seeds."
        )
    rates = ", ".join(
        f"{rate / 1e6:.1f} M a second in populations of {n}" for n, rate in record["macs_evaluations_per_s"].items()
    )
    lines += ["", f"MACs evaluations: {rates}."]
    lines.append(
        f"The MACs counters differ by at most {record['macs_counters_largest_relative_difference']:.1e} (relative)."
    )
    machine = record["environment"]
    lines += [
        "",
        f"{record['date']}, {machine['processor']}, Python {machine['python']}, torch {machine['versions']['torch']}.",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
