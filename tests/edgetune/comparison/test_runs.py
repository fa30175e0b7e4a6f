"""Which of a variant's seeds is kept."""

from types import SimpleNamespace

from edgetune.comparison.runs import best_of


def trained(name, seed, **metrics):
    run = SimpleNamespace(variant=SimpleNamespace(name=name), config=SimpleNamespace(seed=seed))
    return SimpleNamespace(run=run, outcome=SimpleNamespace(metrics=metrics))


def best_seed(*runs):
    return best_of(runs, SimpleNamespace(name="prefix-3")).run.config.seed


def test_the_seed_with_the_best_held_out_rows_is_kept():
    other = trained("prompt-3", 9, accuracy=1.0, loss=0.0)
    runs = [trained("prefix-3", seed, accuracy=accuracy, loss=1.0) for seed, accuracy in enumerate((0.7, 0.9, 0.8))]
    assert best_seed(other, *runs) == 1


def test_less_loss_decides_where_accuracies_are_equal_or_none():
    assert best_seed(*(trained("prefix-3", seed, loss=loss) for seed, loss in enumerate((2.0, 1.5, 1.9)))) == 1


def test_of_equals_the_first_is_kept():
    assert best_seed(*(trained("prefix-3", seed, loss=1.0) for seed in range(3))) == 0
