"""Files become rows, or one line that says what is wrong, where, and what to do."""

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgetune.data.rows import Conversation, LabelledText, PromptCompletion, Task, read_rows
from edgetune.errors import DataError

CHAT = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]


@pytest.fixture
def write(tmp_path):
    def file(name: str, content: str | bytes) -> Path:
        path = tmp_path / name
        path.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)
        return path

    return file


def json_lines(*values: object) -> str:
    return "".join(json.dumps(value) + "\n" for value in values)


def error_of(path: Path | str, task: Task = "classify", columns=None) -> str:
    """The message, which is always one line."""
    with pytest.raises(DataError) as caught:
        read_rows(path, task=task, columns=columns)
    message = str(caught.value)
    assert "\n" not in message
    return message


# What is read


def test_json_lines_become_labelled_texts_with_their_lines(write):
    path = write("train.jsonl", '{"text": "a", "label": "x"}\n\n  \n{"text": "b", "label": "y", "other": 1}')
    rows = read_rows(path, task="classify")
    assert rows == [LabelledText("a", "x"), LabelledText("b", "y")]
    assert [row.line for row in rows] == [1, 4]


@pytest.mark.parametrize("suffix", [".jsonl", ".ndjson", ".json", ".JSONL"])
def test_every_json_suffix_takes_one_object_per_line(write, suffix):
    path = write("train" + suffix, json_lines({"text": "a", "label": "x"}))
    assert read_rows(str(path), task="classify") == [LabelledText("a", "x")]


def test_a_json_list_keeps_the_line_of_each_element(write):
    values = [{"text": f"t{n}", "label": ["a]", {"b": 1}] and f"l{n}"} for n in range(4)]
    path = write("train.json", "\n\n" + json.dumps(values, indent=2))
    rows = read_rows(path, task="classify")
    assert [row.text for row in rows] == ["t0", "t1", "t2", "t3"]
    lines = path.read_text().splitlines()
    assert all(lines[row.line - 1].strip() == "{" for row in rows)
    assert [row.line for row in rows] == [4, 8, 12, 16]


def test_labels_of_every_plain_type_become_strings_in_one_column(write):
    labels = [1, "1", "x", True, "true", False, -7, "2020-01-01", "01"]
    path = write("train.jsonl", json_lines(*({"text": "2020-01-01", "label": label} for label in labels)))
    rows = read_rows(path, task="classify")
    assert [row.label for row in rows] == ["1", "1", "x", "true", "true", "false", "-7", "2020-01-01", "01"]
    assert {row.text for row in rows} == {"2020-01-01"}


def test_keys_that_only_some_rows_have_do_not_disturb_the_others(write):
    path = write(
        "train.jsonl",
        json_lines(
            {"text": "a", "label": 1, "extra": {"deep": [1, "two"]}},
            {"text": "b", "label": "one", "extra": "now a string", "text_pair": "c"},
            {"text": "d", "label": "one", "text_pair": None},
        ),
    )
    assert read_rows(path, task="classify") == [
        LabelledText("a", "1"),
        LabelledText("b", "one", "c"),
        LabelledText("d", "one"),
    ]


def test_csv_cells_stay_the_strings_they_are(write):
    path = write("train.csv", "text,label\nNA,null\nNone,01\n1.50,TRUE\n nan ,#N/A\n")
    rows = read_rows(path, task="classify")
    assert [(row.text, row.label) for row in rows] == [
        ("NA", "null"),
        ("None", "01"),
        ("1.50", "TRUE"),
        (" nan ", "#N/A"),
    ]


def test_csv_rows_know_the_line_on_which_they_start(write):
    path = write("train.csv", '\n"text","label"\r\n"one\ntwo\r\nthree",x\r\n\r\n   \n"say ""hi"", you",y\n')
    rows = read_rows(path, task="classify")
    assert rows == [LabelledText("one\ntwo\nthree", "x"), LabelledText('say "hi", you', "y")]
    assert [row.line for row in rows] == [3, 8]


def test_tsv_is_separated_by_tabs_alone(write):
    path = write("train.tsv", 'text\tlabel\na, b\tx\n"c\td"\ty\n')
    assert read_rows(path, task="classify") == [LabelledText("a, b", "x"), LabelledText("c\td", "y")]


@pytest.mark.parametrize("name, content", [("a.csv", "text,label\nä,x\n"), ("a.jsonl", '{"text":"ä","label":"x"}')])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_byte_order_mark_makes_no_difference(write, name, content, encoding):
    assert read_rows(write(name, content.encode(encoding)), task="classify") == [LabelledText("ä", "x")]


def test_a_very_long_cell_is_no_error(write):
    text = "word " * 100_000
    limit = csv.field_size_limit()
    assert read_rows(write("a.csv", f"text,label\n{text},x\n"), task="classify")[0].text == text
    assert csv.field_size_limit() == limit


def test_an_empty_csv_text_pair_is_none(write):
    path = write("a.csv", "text,text_pair,label\na,,x\nb,c,y\n")
    assert [row.text_pair for row in read_rows(path, task="classify")] == [None, "c"]


def test_columns_name_the_file_s_own_columns(write):
    path = write("a.csv", "id,query,category,label\n1,hello,greet,ignored\n")
    assert read_rows(path, task="classify", columns={"text": "query", "label": "category"}) == [
        LabelledText("hello", "greet")
    ]


def test_prompts_and_conversations_may_share_a_file(write):
    system = [{"role": "system", "content": ""}]
    path = write(
        "a.jsonl",
        json_lines(
            {"prompt": "p", "completion": "c", "messages": None},
            {"messages": system + [{**turn, "name": "x"} for turn in CHAT]},
        ),
    )
    rows = read_rows(path, task="generate")
    assert rows == [PromptCompletion("p", "c"), Conversation(tuple(system + CHAT))]  # type: ignore[arg-type]
    assert [row.line for row in rows] == [1, 2]


def test_parquet_rows_are_read_and_numbered(tmp_path):
    from datasets import Dataset

    path = tmp_path / "a.parquet"
    Dataset.from_dict({"text": ["a", "NA"], "label": [3, 4], "when": ["x", None]}).to_parquet(str(path))
    rows = read_rows(path, task="classify")
    assert rows == [LabelledText("a", "3"), LabelledText("NA", "4")]
    assert [row.line for row in rows] == [1, 2]


def test_parquet_conversations_are_read(tmp_path):
    from datasets import Dataset

    path = tmp_path / "a.parquet"
    Dataset.from_list([{"messages": CHAT}, {"messages": CHAT[:2]}]).to_parquet(str(path))
    assert read_rows(path, task="generate") == [Conversation(tuple(CHAT))] * 2  # type: ignore[arg-type]


def test_parquet_class_numbers_become_class_names(tmp_path):
    from datasets import ClassLabel, Dataset, Features, Value

    path = tmp_path / "a.parquet"
    features = Features({"text": Value("string"), "label": ClassLabel(names=["ham", "spam"])})
    Dataset.from_dict({"text": ["a", "b", "c"], "label": [1, 0, -1]}, features=features).to_parquet(str(path))
    assert "a.parquet, row 3" in (message := error_of(path)) and '"label" is null' in message
    Dataset.from_dict({"text": ["a", "b"], "label": [1, 0]}, features=features).to_parquet(str(path))
    assert [row.label for row in read_rows(path, task="classify")] == ["spam", "ham"]


def test_parquet_written_by_pandas_with_categories_is_read(tmp_path):
    import pandas

    path = tmp_path / "a.parquet"
    pandas.DataFrame({"text": ["a", "b"], "label": pandas.Categorical(["x", "y"])}).to_parquet(path)
    assert read_rows(path, task="classify") == [LabelledText("a", "x"), LabelledText("b", "y")]


def test_a_changed_file_is_read_anew(write):
    for label in ("x", "y"):
        path = write("a.csv", f"text,label\na,{label}\n")
        os.utime(path, (1, 1))
        assert read_rows(path, task="classify")[0].label == label


@pytest.mark.parametrize("name", ["d[1]/q*.csv", "{a}/?.csv", ".hidden/.a.csv", "a b/#%41.csv", "ü/a.b.csv"])
def test_signs_in_a_path_mean_nothing_special(tmp_path, name):
    path = tmp_path / name
    path.parent.mkdir()
    path.write_text("text,label\na,x\n")
    (path.parent / "qq.csv").write_text("text,label\nother,x\n")
    assert read_rows(path, task="classify") == [LabelledText("a", "x")]


def test_reading_leaves_nothing_behind_and_says_nothing(tmp_path, write):
    path, home, temporary = write("a.csv", "text,label\na,x\n"), tmp_path / "home", tmp_path / "tmp"
    home.mkdir()
    temporary.mkdir()
    script = f"from edgetune.data.rows import read_rows; read_rows({str(path)!r}, task='classify')"
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "XDG_"))}
    result = subprocess.run(
        [sys.executable, "-c", script],
        env={**environment, "HOME": str(home), "TMPDIR": str(temporary)},
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    assert [found for folder in (home, temporary) for found in folder.rglob("*") if found.is_file()] == []


def test_importing_the_module_imports_nothing_heavy():
    script = (
        "import sys, edgetune.data.rows, edgetune.data.labels, edgetune.output; "
        "print({'datasets', 'torch', 'transformers', 'pandas', 'pyarrow', 'numpy'} & set(sys.modules))"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], cwd=Path(__file__).parents[3], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "set()"


def test_the_settings_of_datasets_come_back_after_reading(write):
    import datasets

    before = datasets.are_progress_bars_disabled(), datasets.logging.get_verbosity()
    error_of(write("a.parquet", "no parquet"))
    assert (datasets.are_progress_bars_disabled(), datasets.logging.get_verbosity()) == before


# Round trips against the standard library's writers

usable = st.text(st.characters(codec="utf-8", exclude_characters="\r\x00"), min_size=1, max_size=30).filter(
    lambda text: not text.isspace()
)
few = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@few
@given(
    pairs=st.lists(st.tuples(usable, usable), min_size=1, max_size=5),
    ending=st.sampled_from(["\n", "\r\n"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    suffix=st.sampled_from([".csv", ".tsv"]),
)
def test_what_the_csv_module_writes_is_read_back(write, pairs, ending, quoting, suffix):
    buffer = io.StringIO()
    writer = csv.writer(buffer, delimiter="," if suffix == ".csv" else "\t", lineterminator=ending, quoting=quoting)
    writer.writerow(["text", "label"])
    lines = []
    for pair in pairs:
        lines.append(buffer.getvalue().count("\n") + 1)
        writer.writerow(pair)
    rows = read_rows(write("a" + suffix, buffer.getvalue()), task="classify")
    assert [(row.text, row.label) for row in rows] == pairs
    assert [row.line for row in rows] == lines


@few
@given(
    pairs=st.lists(st.tuples(usable, st.one_of(usable, st.integers(), st.booleans())), min_size=1, max_size=5),
    ascii_only=st.booleans(),
    as_list=st.booleans(),
    indent=st.sampled_from([None, 1]),
)
def test_what_the_json_module_writes_is_read_back(write, pairs, ascii_only, as_list, indent):
    values = [{"text": text, "label": label} for text, label in pairs]
    if as_list:
        content = json.dumps(values, ensure_ascii=ascii_only, indent=indent)
    else:
        content = "".join(json.dumps(value, ensure_ascii=ascii_only) + "\n" for value in values)
    rows = read_rows(write("a.json", content), task="classify")
    assert [row.text for row in rows] == [text for text, _ in pairs]
    assert [row.label for row in rows] == [x if isinstance(x, str) else json.dumps(x) for _, x in pairs]
    if not as_list:
        assert [row.line for row in rows] == list(range(1, len(pairs) + 1))


# Files that cannot be read


def test_a_missing_file_is_named_by_its_absolute_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert error_of("nowhere.jsonl") == f"no such file: {tmp_path / 'nowhere.jsonl'}"
    (tmp_path / "file").touch()
    assert "no such file" in error_of("file/a.csv")


def test_a_folder_is_refused(tmp_path):
    assert "a folder, not a file" in error_of(tmp_path)


def test_an_unknown_suffix_lists_the_known_ones(write):
    message = error_of(write("a.xlsx", "x"))
    assert 'unknown suffix ".xlsx"' in message
    assert ".jsonl, .ndjson, .json, .csv, .tsv, .parquet" in message


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".csv", ".tsv", ".parquet"])
def test_an_empty_file_is_an_error(write, suffix):
    assert f"a{suffix}: the file is empty" in error_of(write("a" + suffix, ""))


@pytest.mark.parametrize("name, content", [("a.jsonl", "\n\n"), ("a.json", " [ ] "), ("a.csv", "text,label\n\n")])
def test_a_file_without_rows_is_an_error(write, name, content):
    assert "the file has no rows" in error_of(write(name, content))


@pytest.mark.parametrize("name, content", [("a.jsonl", b"\xef\xbb\xbf"), ("a.csv", b"\xef\xbb\xbf\r\n")])
def test_a_lone_byte_order_mark_is_no_row(write, name, content):
    assert "the file is empty" in (message := error_of(write(name, content))) or "has no rows" in message


def test_a_parquet_file_without_rows_is_an_error(tmp_path):
    import pandas

    pandas.DataFrame({"text": [], "label": []}).to_parquet(tmp_path / "a.parquet")
    assert "the file has no rows" in error_of(tmp_path / "a.parquet")


def test_a_parquet_file_may_begin_with_an_empty_row_group(tmp_path):
    import pyarrow
    from pyarrow.parquet import ParquetWriter

    table = pyarrow.table({"text": ["a"], "label": ["x"]})
    with ParquetWriter(tmp_path / "a.parquet", table.schema) as writer:
        writer.write_table(table.slice(0, 0))
        writer.write_table(table)
    assert read_rows(tmp_path / "a.parquet", task="classify") == [LabelledText("a", "x")]


def test_a_file_that_is_no_parquet_is_named(write):
    message = error_of(write("a.parquet", "text,label\na,x\n"))
    assert "a.parquet: datasets cannot read the file: " in message and "arquet" in message


def test_a_file_without_permission_is_named(write, monkeypatch):
    path = write("a.csv", "text,label\na,x\n")
    if os.geteuid() == 0:  # root reads everything

        def refuse(*_, **__):
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(Path, "open", refuse)
    else:
        path.chmod(0)
    assert error_of(path) == f"{path}: no permission to read the file"


@pytest.mark.parametrize(
    "ending, line",
    [(b"\n", 3), (b"\r\n", 3), (b"\r", 3)],
)
def test_a_byte_that_is_not_utf8_is_found(write, ending, line):
    path = write("a.csv", ending.join([b"text,label", b"\xc3\xa4,x", b"\xc3\xa4h caf\xe9,x", b"b\xff,x"]))
    message = error_of(path)
    assert f"a.csv:{line}: byte 0xE9 in column 7 is not UTF-8. Save the file as UTF-8" in message


@pytest.mark.parametrize(
    "content, what",
    [
        ("text,label\na,x\n".encode("utf-16"), "UTF-16"),
        (b"\x1f\x8b\x08\x00rest", "gzip"),
        (b"PK\x03\x04rest", "spreadsheet"),
        (b"PAR1rest", "Parquet"),
    ],
)
def test_files_of_another_kind_are_recognized(write, content, what):
    assert what in error_of(write("a.csv", content))


# JSON that is wrong


def test_malformed_json_is_located_with_its_reason(write):
    path = write("a.jsonl", '{"text": "a", "label": "x"}\n\n{"text": "a" "label": "x"}\n')
    assert "a.jsonl:3: not JSON: Expecting ',' delimiter (column 14)." in error_of(path)


def test_malformed_json_in_a_list_is_located(write):
    path = write("a.json", '[\n {"text": "a", "label": "x"},\n {"text": "b" "label": "x"}\n]')
    assert "a.json:3: not JSON: Expecting ',' delimiter (column 15)." in error_of(path)


@pytest.mark.parametrize("value, what", [([1], "a list"), ("s", "a string"), (5, "a number"), (None, "null")])
def test_a_row_that_is_no_object_is_located(write, value, what):
    assert f"a.jsonl:2: {what}, not an object" in error_of(
        write("a.jsonl", json_lines({"text": "a", "label": 1}, value))
    )
    assert f"a.json:1: {what}, not an object" in error_of(write("a.json", json.dumps([value])))


@pytest.mark.parametrize("line", ["[" * 100_000, '{"text": "a", "label": ' + "9" * 5000 + "}"])
def test_json_that_python_cannot_hold_is_located(write, line):
    assert "a.jsonl:2: " in error_of(write("a.jsonl", "\n" + line))


# CSV that is wrong


@pytest.mark.parametrize("cells, count", [("b", 1), ("b,x,y", 3)])
def test_a_record_of_another_width_is_located(write, cells, count):
    path = write("a.csv", f'text,label\n"a\na",x\n{cells}\n')
    assert f"a.csv:4: {count} cells under a header of 2. Put quotes around" in error_of(path)


def test_an_open_quote_is_located_where_its_record_starts(write):
    assert "a.csv:3: a quote is never closed" in error_of(write("a.csv", 'text,label\na,x\nb,"y\nc,z\n'))


def test_a_quote_in_the_middle_of_a_quoted_cell_is_located(write):
    message = error_of(write("a.csv", 'text,label\n"a"b,x\n'))
    assert "a.csv:2: " in message and "a quote is written twice" in message


def test_two_columns_of_one_name_are_refused(write):
    assert 'a.csv:1: two columns are named "text"' in error_of(write("a.csv", "text,text,label\na,b,x\n"))


# Fields that are missing or wrong


def test_a_missing_field_names_the_found_ones_and_the_way_out(write):
    path = write("train.jsonl", json_lines({"text": "a", "label": "x"}, {"text": "b", "category": "y"}))
    assert error_of(path) == (
        f'{path}:2: no "label"; found: "text", "category". Name the columns with --columns label=category'
    )


def test_all_missing_fields_are_named_at_once(write):
    message = error_of(write("a.csv", "id,lable,txt\n1,2,3\n"))
    assert 'a.csv:2: no "text", no "label"; found: "id", "lable", "txt".' in message
    assert "--columns text=COLUMN,label=COLUMN" in message


def test_a_field_missing_under_its_given_column_is_named_by_both(write):
    path = write("a.jsonl", json_lines({"text": "a", "kind": "x"}, {"text": "b"}))
    assert 'a.jsonl:2: no "kind" (the column named for "label"); found: "text".' in error_of(
        path, columns={"label": "kind"}
    )


def test_of_many_columns_ten_are_named(write):
    message = error_of(write("a.jsonl", json_lines({f"c{n}": 1 for n in range(14)})))
    assert '"c9" and 4 more' in message and '"c10"' not in message


@pytest.mark.parametrize("field", ["text", "label"])
@pytest.mark.parametrize("value, what", [(None, "null"), ("", "blank"), (" \t ", "blank")])
def test_a_null_or_blank_field_is_located(write, field, value, what):
    path = write("a.jsonl", json_lines({"text": "a", "label": "x", field: value}))
    assert f'a.jsonl:1: "{field}" is {what}' in error_of(path)


def test_a_blank_csv_text_is_located(write):
    assert 'a.csv:3: "text" is blank' in error_of(write("a.csv", "text,label\na,x\n,y\n"))


@pytest.mark.parametrize(
    "value, what", [(5, "a number"), (True, "true or false"), (["a"], "a list"), ({}, "an object")]
)
def test_a_text_that_is_no_string_is_located(write, value, what):
    path = write("a.jsonl", json_lines({"text": "a", "label": "x"}, {"text": value, "label": "x"}))
    assert f'a.jsonl:2: "text" is {what}, not a string' in error_of(path)


@pytest.mark.parametrize("value, what", [(0.5, "a number with a fraction"), ([1], "a list"), ({}, "an object")])
def test_a_label_of_another_type_is_located(write, value, what):
    assert f'a.jsonl:1: "label" is {what}' in error_of(write("a.jsonl", json_lines({"text": "a", "label": value})))


def test_a_text_pair_that_is_no_string_is_located(write):
    path = write("a.jsonl", json_lines({"text": "a", "label": "x", "text_pair": 5}))
    assert 'a.jsonl:1: "text_pair" is a number' in error_of(path)


def test_half_a_surrogate_pair_is_located(write):
    message = error_of(write("a.jsonl", r'{"text": "a\ud83d", "label": "x"}'))
    assert 'a.jsonl:1: "text" holds \\ud83d, half of a surrogate pair' in message


@pytest.mark.parametrize("field", ["prompt", "completion"])
@pytest.mark.parametrize("value, what", [("", "blank"), (None, "null"), (5, "a number")])
def test_prompts_and_completions_must_be_there(write, field, value, what):
    path = write("a.jsonl", json_lines({"prompt": "p", "completion": "c", field: value}))
    assert f'a.jsonl:1: "{field}" is {what}' in error_of(path, "generate")


def test_a_row_without_prompt_or_messages_is_located(write):
    path = write("a.jsonl", json_lines({"text": "p", "label": "c"}))
    assert 'a.jsonl:1: no "prompt", no "completion"; found: "text", "label".' in error_of(path, "generate")


@pytest.mark.parametrize(
    "messages, what",
    [
        ("Hi", '"messages" is a string, not a list of {"role": "…", "content": "…"}'),
        (None, '"messages" is null, not a list'),
        ([], '"messages" has no message by the role "assistant"'),
        (CHAT[:1], '"messages" has no message by the role "assistant"'),
        (["Hi"], '"messages", message 1, is a string'),
        ([CHAT[0], {"role": "bot", "content": "x"}], 'message 2, has the role "bot"; roles are "system", "user", '),
        ([{"content": "x"}], "message 1, has no role"),
        ([{"role": ["user"], "content": "x"}], "message 1, has no role"),
        ([{"role": "user"}], "message 1, has nothing as content, not a string"),
        ([{"role": "user", "content": None}], "message 1, has null as content, not a string"),
        ([{"role": "user", "content": [{"type": "text"}]}], "message 1, has a list as content, not a string"),
        ([CHAT[0], {"role": "assistant", "content": " "}], "message 2, by the assistant, is blank"),
    ],
)
def test_messages_of_another_form_are_located(write, messages, what):
    message = error_of(write("a.jsonl", json_lines({"messages": CHAT}, {"messages": messages})), "generate")
    assert "a.jsonl:2: " in message and what in message


# Columns that are not there


def test_an_unknown_field_is_refused_before_the_file_is_opened(tmp_path):
    message = error_of(tmp_path / "none.csv", columns={"lable": "x"})
    assert 'no field "lable" (did you mean "label"?)' in message and '"text", "label", "text_pair"' in message


@pytest.mark.parametrize("field", ["label", "text_pair"])
def test_a_column_that_no_row_has_is_refused(write, field):
    message = error_of(write("a.csv", "text,label,category\na,x,y\n"), columns={field: "categry"})
    assert f'no column "categry" for --columns {field}=categry (did you mean "category"?)' in message
    assert 'found: "text", "label", "category"' in message


def test_long_names_and_line_breaks_do_not_break_the_line(write):
    message = error_of(write("a.jsonl", json_lines({"a\nb": 1, "c" * 500: 2})))
    assert '"a\\nb"' in message and len(message) < 400
