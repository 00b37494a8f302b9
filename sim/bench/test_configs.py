"""Random configurations: what is drawn, what is found, and what is made of it."""

import numpy as np
import pytest

from tritloom.arch.config import ArrayConfig, Dataflow, Technology
from tritloom.arch.errors import InputError
from tritloom.console.command import Parser
from tritloom.hw.core import sequencer
from tritloom.hw.options import configuration, configuration_arguments
from tritloom.sim.__main__ import PROGRAM
from tritloom.sim.bench import configs
from tritloom.sim.bench.configs import Result

# Small, and its tile takes more of k than there is.
BELOW = {"rows": 1, "cols": 2, "lanes": 4, "max_k": 1}


def accepted(count):
    """Configurations among so many draws, and how many draws were refused."""
    found, refused = [], 0
    for number in range(count):
        parameters, _ = configs.draw(3, number)
        try:
            found.append(ArrayConfig(**parameters))
        except InputError:
            refused += 1
    return found, refused


def test_draws_reach_every_parameter_and_its_extremes():
    found, refused = accepted(2000)
    assert 20 < refused < 400
    assert {config.dataflow for config in found} == set(Dataflow)
    assert {config.technology for config in found} == set(Technology)
    for name in ("rows", "cols", "lanes", "max_k", "buffer_tokens", "lanes_per_chain"):
        assert min(getattr(config, name) for config in found) == 1, name
    assert {config.act_bits for config in found} >= {2, 8, 16}
    assert {config.input_stages for config in found} == {0, 1}
    assert {config.select_stages for config in found} == {0, 1}
    assert {config.diagnostics for config in found} == {False, True}
    below = [c for c in found if c.max_k < c.slices_per_tile * c.lanes]
    assert {config.dataflow for config in below} == set(Dataflow)
    assert len(below) > len(found) / 20


@pytest.mark.parametrize("number", range(40))
def test_options_of_a_configuration_give_it_again(number):
    parameters, _ = configs.draw(3, number)
    parser = Parser()
    configuration_arguments(parser)
    words = parser.parse_args(configs.options(parameters).split())
    try:
        wanted = ArrayConfig(**parameters)
    except InputError as error:
        with pytest.raises(InputError, match=str(error)[:10]):
            configuration(words)
    else:
        assert configuration(words) == wanted


@pytest.mark.slow
def test_a_sound_configuration_passes_and_a_narrow_count_of_k_is_found(folder, monkeypatch):
    builds = folder / "configs"

    def checked():
        return configs.check(BELOW, np.random.default_rng(1), builds)

    sound = checked()
    assert (sound.failure, sound.ran) == ("", ("array", "core"))
    bits = sequencer.left_bits
    monkeypatch.setattr(sequencer, "left_bits", lambda c: bits(c) | {"k": c.max_k.bit_length() + 1})
    assert checked().failure.startswith("core: runs_are_right")


def test_what_is_refused_is_no_failure_and_a_crash_is(tmp_path, monkeypatch):
    rng = np.random.default_rng(1)
    refused = configs.check({**BELOW, "cols_per_hop": 3}, rng, tmp_path)
    assert (refused.ran, refused.failure) == (("refused",), "")

    def crash(*_, **__):
        raise ZeroDivisionError("by a width of 0")

    monkeypatch.setattr(configs, "generate", crash)
    assert configs.check(BELOW, rng, tmp_path).failure == (
        "at first: ZeroDivisionError: by a width of 0"
    )


def run(monkeypatch, capsys, results, *arguments):
    """(status, output) of the command where configurations have these results."""

    def fuzz(*_, first=0, **__):
        yield from enumerate(results, first)

    monkeypatch.setattr(configs, "fuzz", fuzz)
    status = PROGRAM.main(["fuzz-configs", "--seed", "5", *arguments])
    return status, capsys.readouterr()


def test_a_failure_is_told_with_its_commands_and_status_1(monkeypatch, capsys):
    passed = Result(parameters=BELOW, ran=("array", "core"))
    failed = Result(parameters=BELOW, ran=("array",), failure="core: hangs")
    status, said = run(monkeypatch, capsys, [passed, failed], "--first", "7")
    assert status == 1
    first, counts = said.out.splitlines()
    assert first == (
        "failed: python -m sim fuzz-configs --seed 5 --number 8: "
        "--preset tiny --rows 1 --max-k 1: core: hangs"
    )
    assert counts == "2 configurations: array 2, core 1; 1 failed"
    assert said.err.endswith("failed: 1 configurations of seed 5 fail\n")


def test_no_failure_is_status_0(monkeypatch, capsys):
    results = [Result(parameters=BELOW, ran=("array", "core"))]
    status, said = run(monkeypatch, capsys, results)
    assert (status, said.out) == (0, "1 configurations: array 1, core 1; 0 failed\n")


def test_an_interrupt_tells_what_was_run_and_how_to_go_on(monkeypatch, capsys):
    def results():
        yield Result(parameters=BELOW, ran=("refused",))
        raise KeyboardInterrupt

    status, said = run(monkeypatch, capsys, results(), "--first", "4")
    assert status == 130
    assert said.out == "1 configurations: refused 1; 0 failed\n"
    assert said.err.endswith("interrupted: --first 5 continues\n")


def test_configurations_run_until_the_time_is_over_however_many_at_once():
    done = list(
        configs.fuzz(0.2, seed=1, first=3, jobs=3, run=lambda s, n: Result(parameters={"n": n}))
    )
    numbers = sorted(number for number, _ in done)
    assert numbers == list(range(3, 3 + len(done)))
    assert all(result.parameters == {"n": number} for number, result in done)
