"""The assignments' checks say in words what is wrong; the last cell writes what is handed in."""

import json
import sys
import types
import warnings
from array import array
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
import torch

import ddim_lib
from ddim_lib import checks
from ddim_lib.checks import CheckFailed


def fails(words, function, *arguments, **options):
    with pytest.raises(CheckFailed) as caught:
        function(*arguments, **options)
    assert str(caught.value) == words
    # A test cell's failure is an assertion's, like any other.
    assert isinstance(caught.value, AssertionError)


def test_a_right_number_or_tensor_passes_in_silence(capsys):
    checks.close("your x", 0.25, 0.25)
    checks.close("your x", np.float32(0.25), 0.25)
    checks.close("your x", torch.tensor(0.25), 0.25)
    checks.close("your x", torch.tensor([0.5, 1.0]), torch.tensor([0.5, 1.0]))
    checks.close("your x", torch.ones(2, requires_grad=True), torch.ones(2))
    checks.tensor("your x", torch.ones(2, 3), (2, 3), torch.float32)
    checks.same_list("your list", (2, np.int64(5)), [2, 5])
    checks.same_list("your list", torch.tensor([2, 5]), [2, 5])
    checks.same_list("your list", [[3, 1], [1, 0]], [(3, 1), (1, 0)])
    assert capsys.readouterr().out == ""
    checks.ok("two levels")
    assert capsys.readouterr().out == "ok: two levels\n"


WHOLE = ["uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64"]
LISTS = {
    **{f"numpy {name}": np.array([2, 5], name) for name in [*WHOLE, "float16", "float64"]},
    **{f"torch {name}": torch.tensor([2, 5], dtype=getattr(torch, name))
       for name in ("uint8", "int16", "int64", "float16")},
    "series": pd.Series([2, 5]), "nullable series": pd.Series([2, 5], dtype="Int64"),
    "index": pd.Index([2, 5]), "a list of tensors": [torch.tensor(2), torch.tensor([5]).sum()],
    "a list of numpy's numbers": [np.uint8(2), np.int64(5)], "generator": (n for n in (2, 5)),
    "range": range(2, 6, 3), "fractions": [Fraction(2), Decimal(5)], "array": array("h", [2, 5]),
    "keys": {2: None, 5: None}.keys(), "with gradients": torch.tensor([2.0, 5.0]).requires_grad_(),
}
ROWS = {
    "tensors": [torch.tensor([3, 1]), torch.tensor([1, 0])], "one tensor": torch.tensor(
        [[3, 1], [1, 0]]), "lists": [[3, 1], [1, 0]], "arrays": np.array([[3, 1], [1, 0]], "uint8"),
    "zip": zip([3, 1], [1, 0], strict=True), "series": pd.Series([(3, 1), (1, 0)]),
}


@pytest.mark.parametrize("name", [*LISTS, *(f"rows: {name}" for name in ROWS)])
def test_a_right_list_passes_in_every_type(name):
    if name in LISTS:
        checks.same_list("your list", LISTS[name], [2, 5])
    else:
        checks.same_list("your list", ROWS[name.removeprefix("rows: ")], [(3, 1), (1, 0)])


@pytest.mark.parametrize("got", [
    0.25, np.float16(0.25), np.array([0.25]), pd.Series([0.25]), Fraction(1, 4), Decimal("0.25"),
    torch.tensor([[0.25]], dtype=torch.bfloat16)])
def test_a_right_number_passes_in_every_type(got):
    checks.close("your x", got, 0.25)


@pytest.mark.parametrize("got, want, words", [
    (torch.tensor([1 + 2j, 3]), torch.tensor([1.0, 3.0]), "holds complex numbers, expected real"),
    (torch.tensor([complex("nan"), 3]), torch.tensor([1.0, 3.0]), "holds NaN or infinity"),
    (torch.tensor(1 + 2j), 1.0, "is of type complex, expected a number"),
    (np.complex64(1 + 2j), 1.0, "is of type complex, expected a number"),
    (1 + 0j, 1.0, "is of type complex, expected a number"),
    ("1", 1.0, "is of type str, expected a number"),
    (b"1", 1.0, "is of type bytes, expected a number"),
    ([1.0], 1.0, "is of type list, expected a number"),
    (pd.Series([1.0, 2.0]), 1.0, "is of type Series, expected a number"),
])
def test_what_is_no_real_number_gets_words(got, want, words):
    with warnings.catch_warnings(), pytest.raises(CheckFailed, match=f"^your x {words}"):
        warnings.simplefilter("error")
        checks.close("your x", got, want)


def test_complex_numbers_are_compared_where_they_are_expected():
    want = torch.tensor([1 + 2j, 3])
    checks.close("your x", want.clone(), want)
    with pytest.raises(CheckFailed, match="the worst by 4"):
        checks.close("your x", want.conj(), want)


@pytest.mark.parametrize("got, words", [
    (0.5241, "your x is 0.5241, expected 0.72."),
    (0.72001, "your x is 0.72001, expected 0.72."),
    (0.85, "your x is 0.85, expected 0.72. Is this the root?"),
    (None, "your x is None: does your function end in return?"),
    ("a", "your x is of type str, expected a number"),
    (torch.ones(2), "your x is a tensor of shape (2,), expected a number"),
    (float("nan"), "your x is nan, expected a finite number"),
])
def test_a_wrong_number_is_told_with_the_right_one(got, words):
    fails(words, checks.close, "your x", got, 0.72, suspects=[(0.85, "Is this the root?")])


def test_nearly_equal_numbers_are_told_with_digits_that_differ():
    fails("your x is 0.899999983, expected 0.9.", checks.close, "your x", 0.899999983, 0.9,
          atol=1e-10, rtol=0)


@pytest.mark.parametrize("got, words", [
    (torch.tensor([1.0, 2.0]), "your x: the values are wrong, the worst by 1. Yours have the mean "
     "1.5 and the variance 0.25, expected are 2 and 1."),
    (torch.tensor([3.0, 1.0]), "your x: the values are wrong, the worst by 2. Yours have the mean "
     "2 and the variance 1, expected are 2 and 1. In which order?"),
    (torch.ones(3), "your x has shape (3,), expected (2,)"),
    (torch.tensor([1.0, float("inf")]), "your x holds NaN or infinity: a division by zero, or the "
     "root of a negative number?"),
    (None, "your x is None: does your function end in return?"),
    ([1.0, 3.0], "your x is of type list, expected a tensor"),
])
def test_a_wrong_tensor_is_told_by_its_shape_or_its_statistics(got, words):
    fails(words, checks.close, "your x", got, torch.tensor([1.0, 3.0]),
          suspects=[(torch.tensor([3.0, 1.0]), "In which order?"), (torch.ones(9), "No.")])


def test_a_constant_tensor_is_told_like_a_number():
    fails("the weight is 0.81, expected 0.9. The square?", checks.close, "the weight",
          torch.full((2, 2), 0.81), torch.full((2, 2), 0.9),
          suspects=[(torch.full((2, 2), 0.81), "The square?")])


def test_a_wrong_type_of_numbers_is_told():
    fails("your table is float32, expected float64", checks.tensor, "your table",
          torch.ones(2), (2,), torch.float64)
    fails("your x is float64, expected float32", checks.close, "your x", torch.ones(2).double(),
          torch.ones(2), dtype=torch.float32)


@pytest.mark.parametrize("got, words", [
    ([0, 5], "your list: entry 0 is 0, expected 2. From 0?"),
    ([2, 6], "your list: entry 1 is 6, expected 5."),
    ([2], "your list has 1 entries, expected 2: [2]."),
    (None, "your list is of type NoneType, expected a list"),
    ("25", "your list is of type str, expected a list"),
    (2, "your list is the number 2, expected a list"),
    (torch.tensor(2), "your list is the number 2, expected a list"),
    ({2: 5}, "your list is of type dict, expected a list"),
    ({2, 5}, "your list is of type set, expected a list"),
    (list, "your list is of type type, expected a list"),
    (["2", "5"], "your list holds an entry that is of type str, expected a list of numbers"),
    ([2, None], "your list holds an entry that is of type NoneType, expected a list of numbers"),
    (np.array([2 + 0j, 5]), "your list holds an entry that is of type complex, expected a list of "
     "numbers"),
    ([(2, 5)], "your list has 1 entries, expected 2: [(2, 5)]."),
])
def test_a_wrong_list_is_told_by_its_first_wrong_entry(got, words):
    fails(words, checks.same_list, "your list", got, [2, 5], [([0, 5], "From 0?")])


def test_an_error_is_expected():
    def wrong(error):
        raise error

    checks.raises("S = 0", lambda: wrong(ValueError("S")))
    fails("S = 0: expected ValueError, your function returns [1, 2]", checks.raises, "S = 0",
          lambda: [1, 2])
    fails("S = 0: expected ValueError, your function returns a tensor of shape (2,)", checks.raises,
          "S = 0", lambda: torch.ones(2))
    fails("S = 0: expected ValueError, your function raises KeyError: 's'", checks.raises, "S = 0",
          lambda: wrong(KeyError("s")))
    long = str(list(range(100)))
    fails(f"S = 0: expected ValueError, your function returns {long[:57]}...", checks.raises,
          "S = 0", lambda: list(range(100)))


def test_an_open_question_says_so_wherever_it_is_asked():
    def still_open():
        raise NotImplementedError("your answer here")

    with pytest.raises(NotImplementedError):
        checks.raises("S = 0", still_open)
    with pytest.raises(NotImplementedError), checks.without(ddim_lib.sigma), checks.own_generator():
        still_open()


def test_the_library_s_own_function_is_noticed_under_any_name():
    borrowed = ddim_lib.sigma
    with pytest.raises(CheckFailed, match="calls the library's sigma; write the formula out"):
        with checks.without(ddim_lib.step, ddim_lib.sigma):
            borrowed(0.2, 0.6, 1.0)
    with pytest.raises(CheckFailed, match="the library's Schedule.add_noise"):
        with checks.without(ddim_lib.Schedule.add_noise):
            ddim_lib.linear().add_noise(torch.ones(1, 1, 2, 2), 5, torch.ones(1, 1, 2, 2))
    with checks.without(ddim_lib.step):
        ddim_lib.sigma(0.2, 0.6, 1.0)


def test_nobody_is_watched_afterwards():
    before = sys.getprofile()
    with pytest.raises(ZeroDivisionError), checks.without(ddim_lib.sigma):
        ddim_lib.sigma(0.2, 0.6, 1.0)
        1 / 0  # noqa: B018
    assert sys.getprofile() is before


def test_right_functions_stand_in_for_earlier_answers_and_go_again():
    def mine():
        return "mine"

    notebook = {"sigma": mine}
    with checks.standing_in(notebook, sigma=ddim_lib.sigma, step=ddim_lib.step):
        assert notebook == {"sigma": ddim_lib.sigma, "step": ddim_lib.step}
    assert notebook == {"sigma": mine}
    with pytest.raises(ZeroDivisionError), checks.standing_in(notebook, sigma=None, pairs=None):
        1 / 0  # noqa: B018
    assert notebook == {"sigma": mine}


def test_the_global_generator_is_watched():
    with checks.own_generator():
        torch.randn(3, generator=torch.Generator().manual_seed(0))
    with pytest.raises(CheckFailed, match="global generator"), checks.own_generator():
        torch.randn(3)


CELLS = ["# question: add-noise\ndef f():\n    raise NotImplementedError('your answer here')",
         "# test: add-noise\nf()", "# question: snr\ndef g():\n    return 1", "# test: snr\ng()",
         "# test: chain\nh()", "<!-- question: two-ways -->\nYOUR ANSWER HERE",
         "<!-- question: reading -->\nIt is smooth."]


def notebook(folder, name="noise"):
    # One source as a list of lines, as notebooks on disk have it, the others as strings.
    cells = [{"cell_type": "code", "source": s} for s in CELLS]
    cells[0]["source"] = CELLS[0].splitlines(keepends=True)
    cells[3]["outputs"] = [{"text": "é 0.25"}]
    (folder / f"{name}.ipynb").write_text(json.dumps({"cells": cells, "nbformat": 4}), "utf-8")
    return {"cells": cells, "nbformat": 4}


def test_what_is_handed_in_is_the_notebook_under_the_student_s_name(tmp_path, capsys):
    content = notebook(tmp_path)
    path = checks.pack("noise", "Ana María 7", tmp_path)
    assert path == tmp_path / "noise__Ana-María-7.ipynb"
    assert json.loads(path.read_text("utf-8")) == content
    assert capsys.readouterr().out.splitlines() == [
        "still open: add-noise", "missing: the cell that begins with '# question: chain'",
        "still open: two-ways", "hand in: noise__Ana-María-7.ipynb"]


def test_an_email_address_stays_one(tmp_path):
    # A learning platform's import finds students by it.
    notebook(tmp_path)
    assert checks.pack("noise", "ada+x@uni.edu", tmp_path).name == "noise__ada+x@uni.edu.ipynb"


@pytest.mark.parametrize("student", ["", "  ", "///", "..", None, ..., True, 7.5, [7], "a" * 251,
                                     "\u6c34" * 84])
def test_without_a_name_nothing_is_written(tmp_path, capsys, student):
    notebook(tmp_path)
    assert checks.pack("noise", student, tmp_path) is None
    assert "write your name or number between the quotes" in capsys.readouterr().out
    assert [p.name for p in tmp_path.iterdir()] == ["noise.ipynb"]


@pytest.mark.parametrize("student, name", [
    ("Jose\u0301", "Jos\u00e9"), (" Ada\u00a0Lovelace ", "Ada-Lovelace"), (7, "7"),
    (np.int64(7), "7"), ("\u0905\u0928\u093f\u0924\u093e", "\u0905\u0928\u093f\u0924\u093e"),
    ("O'Hara", "O-Hara"), ("a\\b", "a-b"), ("\u6c34" * 50, "\u6c34" * 50)])
def test_a_name_keeps_its_letters(tmp_path, student, name):
    notebook(tmp_path)
    assert checks.pack("noise", student, tmp_path).name == f"noise__{name}.ipynb"


@pytest.mark.parametrize("odd", [{"cell_type": "raw"}, {"source": None}, {"source": ["a", 1]}, 3,
                                 {"source": "", "outputs": [{"text": "\ud83d"}]}])
def test_an_odd_cell_is_packed_as_it_is(tmp_path, odd, capsys):
    content = notebook(tmp_path)
    content["cells"].append(odd)
    (tmp_path / "noise.ipynb").write_text(json.dumps(content), "utf-8")
    assert json.loads(checks.pack("noise", "7", tmp_path).read_text("utf-8")) == content
    assert "missing: the cell that begins with '# question: chain'" in capsys.readouterr().out


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"{}", b'{"cells": 1}', b"\xff", b"null"])
def test_a_notebook_that_is_half_saved_is_asked_for_again(tmp_path, data):
    (tmp_path / "noise.ipynb").write_bytes(data)
    with pytest.raises(ValueError, match="^noise.ipynb is no whole notebook: save it and run this"):
        checks.pack("noise", "7", tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["noise.ipynb"]


def test_a_name_is_never_a_path(tmp_path):
    (tmp_path / "work").mkdir()
    notebook(tmp_path / "work")
    path = checks.pack("noise", "../../etc/x", tmp_path / "work")
    assert path == tmp_path / "work" / "noise__etc-x.ipynb" and path.is_file()


def test_a_notebook_under_another_name_is_asked_for(tmp_path):
    notebook(tmp_path, "Copy of noise")
    with pytest.raises(FileNotFoundError, match=r"called noise\.ipynb .* Copy of noise\.ipynb"):
        checks.pack("noise", "7", tmp_path)


def test_a_grader_packs_nothing(tmp_path, monkeypatch):
    notebook(tmp_path)
    assert not checks.grading()
    monkeypatch.setenv("DDIM_GRADING", "1")
    assert checks.grading()
    assert checks.pack("noise", "7", tmp_path) is None
    assert [p.name for p in tmp_path.iterdir()] == ["noise.ipynb"]


def colab_that(answers, monkeypatch) -> tuple[list, list]:
    """A Colab whose page answers by a call of `answers`; what it was asked, and what it loaded."""
    asked, downloaded = [], []
    message = types.SimpleNamespace(blocking_request=lambda *a, **k: asked.append(a) or answers())
    files = types.SimpleNamespace(download=downloaded.append)
    colab = types.ModuleType("google.colab")
    colab._message, colab.files = message, files
    google = types.ModuleType("google")
    google.colab = colab
    monkeypatch.setitem(sys.modules, "google", google)
    monkeypatch.setitem(sys.modules, "google.colab", colab)
    return asked, downloaded


def no_answer():
    raise TimeoutError


@pytest.mark.parametrize("answer", [
    lambda: None, dict, lambda: {"ipynb": None}, lambda: {"ipynb": {}}, no_answer,
    lambda: {"ipynb": {"cells": None}}])
def test_a_page_that_does_not_answer_is_told_in_a_sentence(tmp_path, monkeypatch, answer):
    colab_that(answer, monkeypatch)
    notebook(tmp_path)
    with pytest.raises(RuntimeError, match=r"^the page did not give its notebook: save it .* run "
                                           r"this cell again, .* call the file noise__7\.ipynb$"):
        checks.pack("noise", "7", tmp_path)


def test_on_colab_the_open_notebook_is_packed_and_downloaded(tmp_path, monkeypatch):
    content = {"cells": [{"source": ["# question: snr\n", "1"]}]}
    asked, downloaded = colab_that(lambda: {"ipynb": content}, monkeypatch)
    path = checks.pack("noise", "7", tmp_path)
    assert json.loads(path.read_text("utf-8")) == content
    assert asked == [("get_ipynb",)] and downloaded == [str(path)]
