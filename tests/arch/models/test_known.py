import pytest

from tritloom.arch.errors import InputError
from tritloom.arch.models.known import CHECKPOINTS, FIGURE3, MODELS, SIZES, find_model

# Parameters of the released LLaMA checkpoints (7B, 13B, 33B, 65B), norms included.
RELEASED = {
    "7b": 6_738_415_616,
    "13b": 13_015_864_320,
    "30b": 32_528_943_616,
    "70b": 65_285_660_672,
}


def parameters(model):
    return model.block_weights + model.embedding_weights


@pytest.mark.parametrize("size", RELEASED)
def test_llama_has_as_many_parameters_as_its_checkpoint(size):
    model = find_model(size)
    norms = (2 * model.layers + 1) * model.hidden
    assert parameters(model) + norms == RELEASED[size]


def test_2b4t_has_2_08_billion_trits_and_a_tied_head():
    model = CHECKPOINTS["bitnet-2b4t"]
    assert model.block_weights == 30 * 69_468_160
    assert model.embedding_weights == 128256 * 2560


@pytest.mark.parametrize("name", SIZES | FIGURE3)
def test_name_is_within_8_percent_of_the_weights_with_or_without_embeddings(name):
    label = name.removeprefix("figure3-")
    stated = float(label[:-1]) * {"b": 1e9, "m": 1e6}[label[-1]]
    if name == "figure3-3b":  # the figure's bar fits BitNet's 2.7B dimensions
        stated = 2.7e9
    model = find_model(name)
    errors = [abs(n / stated - 1) for n in (model.block_weights, parameters(model))]
    assert min(errors) < 0.08


def test_3_9b_has_3_9_billion_parameters():
    assert parameters(find_model("3.9b")) == pytest.approx(3.92e9, rel=1e-3)


@pytest.mark.parametrize("name", MODELS)
def test_dimensions_without_a_published_source_are_inferred(name):
    model = find_model(name)
    assert model.inferred is (name not in {"700m", "1.3b", "3b", *CHECKPOINTS})
    assert model.source


def test_issue_sizes_and_figure_models_are_all_there():
    assert list(SIZES) == ["700m", "1.3b", "3b", "3.9b", "7b", "13b", "30b", "70b"]
    assert list(FIGURE3) == [f"figure3-{size}" for size in ("1.3b", "3b", "7b", "13b", "70b")]


@pytest.mark.parametrize("name", FIGURE3)
def test_figure_3_block_has_12_hidden_squared_weights(name):
    model = find_model(name)
    assert model.block_weights == 12 * model.hidden**2 * model.layers
    assert model.head_dim == 128


@pytest.mark.parametrize("name", MODELS)
def test_model_is_found_under_its_own_name_in_either_case(name):
    assert find_model(name).name == name
    assert find_model(name.upper()) is find_model(name)


@pytest.mark.parametrize("name", ["8b", "", "7", None, 7])
def test_unknown_model_is_named_and_known_ones_listed(name):
    with pytest.raises(InputError, match=f"^unknown model {name!r}; known: 700m, .*bitnet-2b4t$"):
        find_model(name)
