import pytest

from cin_keras.data import from_table
from cin_keras.data.loaders.table import table_splits
from tests.data.small_sets import write_files


@pytest.fixture
def folder(tmp_path):
    return write_files(tmp_path, *[f"images/{i}.png" for i in range(6)])


def write(folder, *lines, name="table.csv"):
    (folder / name).write_text("\n".join(lines) + "\n", "utf-8")
    return folder / name


def test_names(folder):
    table = write(
        folder, "path,label", "images/3.png,b 10", "images/1.png,b 2", "images/2.png,b 10"
    )
    samples = from_table(str(table))
    assert samples.class_names == ("b 2", "b 10")
    assert samples.labels.tolist() == [1, 0, 1]
    assert samples.paths == tuple(str(folder / "images" / f"{i}.png") for i in (3, 1, 2))
    assert samples.read(0).getpixel((0, 0)) == (3, 3, 3)
    assert samples.boxes is None


def test_numbers(folder):
    table = write(folder, "path,label", "images/3.png,1", "images/1.png,0", "images/2.png,2.0")
    assert from_table(table).class_names == ("0", "1", "2")
    assert from_table(table).labels.tolist() == [1, 0, 2]
    samples = from_table(table, class_names=["cat", "dog", "owl", "yak"])
    assert samples.class_names == ("cat", "dog", "owl", "yak")
    assert samples.labels.tolist() == [1, 0, 2]


def test_given_names(folder):
    table = write(folder, "path,label", "images/3.png,owl", "images/1.png,cat")
    assert from_table(table, class_names=["owl", "yak", "cat"]).labels.tolist() == [0, 2]
    with pytest.raises(
        ValueError,
        match="Line 2 of .*label 'owl', which is none of the 2 class names given: cat, dog",
    ):
        from_table(table, class_names=["cat", "dog"])


def test_splits(folder):
    table = write(
        folder, "path,label,split", "images/0.png,b,train", "images/1.png,a,Validation",
        "images/2.png,a,train", "images/3.png,b,test", "images/4.png,c,fold 7",
    )  # fmt: skip
    folds = write(folder, "path,label,fold", "images/0.png,b,0", "images/1.png,a,1", name="folds.csv")
    assert [from_table(folds, i, split_column="fold").labels.tolist() for i in (0, 1)] == [[1], [0]]
    for split, expected in (
        (None, [1, 0]), ("train", [1, 0]), ("val", [0]), ("dev", [0]), ("test", [1]), ("fold 7", [2]),
    ):  # fmt: skip
        samples = from_table(table, split)
        assert samples.labels.tolist() == expected
        assert samples.class_names == ("a", "b", "c")
    assert len(from_table(table, split_column=None)) == 5
    assert table_splits(table) == {"train": 2, "val": 1, "test": 1, "fold 7": 1}
    with pytest.raises(
        ValueError, match="no row whose split is 'extra', only fold 7, test, train, val"
    ):
        from_table(table, "extra")
    plain = write(folder, "path,label", "images/0.png,b")
    assert table_splits(plain) == {}
    with pytest.raises(
        ValueError, match="no column 'split' to take a split by; its columns are path, label"
    ):
        from_table(plain, "train")


def test_columns_quotes_marks_and_other_delimiters(folder):
    (folder / "a, b.png").write_bytes((folder / "images" / "0.png").read_bytes())
    content = (
        '\ufeffid; file ;"species"\r\n1;images/1.png;"heron; grey"\r\n\r\n2;"a, b.png";owl\r\n'
    )
    (folder / "t.csv").write_bytes(content.encode())
    for delimiter in (";", None):
        samples = from_table(
            folder / "t.csv", path_column="file", label_column="species", delimiter=delimiter
        )
        assert samples.class_names == ("heron; grey", "owl")
        assert samples.paths[1] == str(folder / "a, b.png")
    with pytest.raises(ValueError, match="no column 'path'; .*id, file, species. `path_column`"):
        from_table(folder / "t.csv")
    with pytest.raises(ValueError, match="no column 'file'; its columns are id; file ;"):
        from_table(folder / "t.csv", path_column="file", label_column="species", delimiter=",")
    for wrong in ("", ";;", 3):
        with pytest.raises(ValueError, match="`delimiter` must be one character"):
            from_table(folder / "t.csv", delimiter=wrong)


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_what_spreadsheets_write(folder, delimiter):
    rows = ["path|label|split||", "images\\0.png|a|train||", "images/1.png|b|dev||", "||||"]
    text = "\r\n".join(rows).replace("|", delimiter) + "\r\n"
    for mark, encoding in ((f"sep={delimiter}\r\n", "utf-8"), ("", "utf-8-sig"), ("", "utf-16")):
        table = folder / "table.csv"
        table.write_bytes((mark + text).encode(encoding))
        assert table_splits(table) == {"train": 1, "val": 1}
        assert from_table(table, "train").read(0).getpixel((0, 0)) == (0, 0, 0)
    write(
        folder,
        f"sep={delimiter}",
        *(row.replace("|", delimiter) for row in rows[:2]),
        f"x{delimiter}",
    )
    with pytest.raises(ValueError, match="Line 4 of .* has 2 cells, the header 5"):
        from_table(table)


@pytest.mark.parametrize(
    "labels, names",
    [
        ([737, 747, 737], ("737", "747")),
        ([1, 2, 3], ("1", "2", "3")),
        ([0, 7, 3], ("0", "3", "7")),
        ([10, 9, 2**40], ("9", "10", str(2**40))),
        (["737", "A320", "747"], ("737", "747", "A320")),
        (["737.0", "747.0", "737"], ("737", "747")),
    ],
)
def test_numbers_are_names(folder, labels, names):
    table = write(
        folder, "path,label", *(f"images/{i}.png,{label}" for i, label in enumerate(labels))
    )
    samples = from_table(table)
    assert samples.class_names == names
    shown = [samples.class_names[label] for label in samples.labels]
    assert shown == [str(label).removesuffix(".0") for label in labels]
    reverse = from_table(table, class_names=[*names, "other"][::-1])
    assert [reverse.class_names[label] for label in reverse.labels] == shown


def test_numbers_keep_their_zeros(folder):
    """As the names of folders do, which a table may list."""
    table = write(folder, "path,label", "images/1.png,010", "images/2.png,002", "images/3.png,010")
    assert from_table(table).class_names == ("002", "010")
    long = "9" * 5000
    table = write(folder, "path,label", f"images/1.png,{long}", f"images/2.png,1{long}")
    assert from_table(table).class_names == (long, f"1{long}")
    table = write(folder, "path,label", "images/1.png,007", "images/2.png,7")
    with pytest.raises(ValueError, match="one number in two ways: '007' and, in line 3, '7'"):
        from_table(table)


def test_decimals_are_names_written_in_one_way(folder):
    rows = ["images/1.png,1.5", "images/2.png,2.0"]
    assert from_table(write(folder, "path,label", *rows)).class_names == ("1.5", "2.0")
    with pytest.raises(ValueError, match="one number in two ways: '2.0' and, in line 4, '2'"):
        from_table(write(folder, "path,label", *rows, "images/3.png,2"))


def test_numbers_that_may_count_from_zero_or_one(folder):
    table = write(folder, "path,label", "images/1.png,1", "images/2.png,2")
    with pytest.warns(UserWarning, match="are counted from 0, so that 1 is the second of"):
        assert from_table(table, class_names=["a", "b", "c"]).labels.tolist() == [1, 2]


def test_a_column_of_splits_is_used_or_named(folder):
    rows = [f"images/{i}.png,{'ab'[i % 2]},{'train' if i < 4 else 'test'}" for i in range(6)]
    table = write(folder, "Path,LABEL,Split", *rows)
    assert len(from_table(table)) == 4 and len(from_table(table, "test")) == 2
    table = write(folder, "path,label,subset", *rows)
    with pytest.warns(UserWarning, match=r"'subset' .* seems to name splits \(test, tr.*column subset"):
        assert len(from_table(table)) == 6
    assert len(from_table(table, split_column="subset")) == 4
    for call in (from_table, table_splits):
        with pytest.raises(ValueError, match="no column 'fold' of splits; its columns are path, la"):
            call(table, split_column="fold")
    assert len(from_table(table, split_column=None)) == 6
    numbers = [f"images/{i}.png,{'ab'[i % 2]},{i % 2}" for i in range(6)]
    table = write(folder, "path,label,is_train", *numbers)
    with pytest.warns(UserWarning, match=r"'is_train' .* seems to name splits \(0, 1\)"):
        assert len(from_table(table)) == 6


def test_blank_lines_above_the_header(folder):
    table = write(folder, "", "", "path,label", "images/1.png,cat", "", "images/2.png,dog,more")
    with pytest.raises(ValueError, match="Line 6 of .* has 3 cells"):
        from_table(table)
    found = from_table(write(folder, "", "path,label", "images/1.png,cat", "images/2.png,dog"))
    assert found.class_names == ("cat", "dog")


@pytest.mark.parametrize("again", ["images/../images/1.png", "images\\1.png", "absolute"])
def test_a_photograph_that_is_written_in_two_ways_is_one(folder, again):
    again = str(folder / "images" / "1.png") if again == "absolute" else again
    table = write(folder, "path,label", "images/1.png,a", f"{again},b", "images/2.png,b")
    with pytest.raises(ValueError, match="two labels, in lines 2 and 3"):
        from_table(table)


def test_a_class_without_a_row_to_train_on_is_named(folder):
    rows = [f"images/{i}.png,{'abc'[i // 2]},{'test' if i > 3 else 'train'}" for i in range(6)]
    table = write(folder, "path,label,split", *rows)
    with pytest.warns(UserWarning, match="Classes of .*table.csv without a row to train on: c."):
        assert len(from_table(table)) == 4


def test_numbers_that_count_the_names(folder):
    def labels(*numbers, class_names=("cat", "dog", "owl")):
        lines = [f"images/{i}.png,{n}" for i, n in enumerate(numbers)]
        table = write(folder, "path,label", *lines)
        return from_table(table, class_names=class_names).labels.tolist()

    assert labels(0, 2) == [0, 2]
    assert labels(1, 3) == [0, 2]  # from 1, as the last of three shows
    assert labels(1, 2) == [1, 2]
    for wrong in ((0, 3), (1, 4), (-1, 0), (2**40, 0)):
        with pytest.raises(ValueError, match="among `class_names`, or count these 3 from 0 .or fr"):
            labels(*wrong)
    assert labels(1, 0, class_names=["1", "0"]) == [0, 1]  # these are the names
    with pytest.raises(ValueError, match="`class_names` must be a list"):
        labels(0, 1, class_names="cat")


@pytest.mark.parametrize(
    "options",
    [
        {"class_names": {0: "cat", 1: "dog"}},
        {"class_names": {"cat", "dog"}},
        {"levels": {"make", "model"}},
        {"box_columns": {"left", "top", "right", "bottom"}},
    ],
)
def test_what_has_no_order_or_keys_is_no_list(folder, options):
    (name,) = options
    table = write(folder, "path,label", "images/0.png,0", "images/1.png,1")
    with pytest.raises(ValueError, match=f"`{name}` must be a list, which has an order. Received: "):
        from_table(table, **options)


def test_one_class_in_two_forms_or_cases(folder):
    write_files(folder, "caf\u00e9/1.png", "b\u0061/1.png")
    table = write(folder, "path,label", "cafe\u0301/1.png,caf\u00e9", "ba/1.png,cafe\u0301")
    samples = from_table(table)
    assert samples.class_names == ("caf\u00e9",)
    assert samples.read(0).size == (4, 4)
    table = write(folder, "path,label", "images/0.png,Cat", "images/1.png,cat")
    with pytest.raises(ValueError, match="classes 'Cat' and 'cat', whose names differ in upper"):
        from_table(table)
    table = write(folder, "path,label", "images/0.png,A", "images/1.png,a")
    assert from_table(table).num_classes == 2


@pytest.mark.parametrize(
    "content, message",
    [
        (b"PK\x03\x04\xff", "no CSV file in UTF-8 .it is a ZIP archive or a spreadsheet"),
        (b"\xff\xd8\xff\xe0", "it is a photograph; give the folder"),
        (b"\x1f\x8b\x08\xff", "it is an archive; unpack it"),
    ],
)
def test_what_is_no_table(folder, content, message):
    (folder / "data").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        from_table(folder / "data")


def test_absolute_paths(folder, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    table = write(elsewhere, "path,label", f"{folder}/images/0.png,a", f"{folder}/images/1.png,b")
    assert from_table(table).paths[0] == str(folder / "images" / "0.png")


COLUMNS = ["x1", "y1", "x2", "y2"]


def test_boxes(folder):
    table = write(
        folder, "path,label,x1,y1,x2,y2", "images/0.png,a,0,1,2,3", "images/0.png,b,1,1,4,3.5",
    )  # fmt: skip
    samples = from_table(table, box_columns=COLUMNS)
    assert samples.boxes.tolist() == [[0, 1, 2, 3], [1, 1, 4, 3.5]]
    assert samples.crop_to_boxes().read(1).size == (3, 3)
    with pytest.raises(ValueError, match="must name four columns"):
        from_table(table, box_columns=COLUMNS[:3])
    with pytest.raises(ValueError, match="gives 'images/0.png' two labels, in lines 2 and 3"):
        from_table(table)


@pytest.mark.parametrize("empty", ["", " ", "NaN", "nan", "null", "<NA>"])
@pytest.mark.parametrize("column", ["path", "label", "split", "x2"])
def test_empty_cells(folder, column, empty):
    cells = {
        "path": "images/1.png",
        "label": "a",
        "split": "train",
        "x1": 0,
        "y1": 0,
        "x2": 1,
        "y2": 1,
    }
    table = write(
        folder,
        ",".join(cells),
        ",".join(map(str, {**cells, "path": "images/0.png"}.values())),
        ",".join(map(str, {**cells, column: empty}.values())),
    )
    with pytest.raises(ValueError, match=f"has no {column} in line 3: the cell holds '.*' .1 such"):
        from_table(table, box_columns=COLUMNS)


@pytest.mark.parametrize(
    "lines, message",
    [
        ([], "has no column 'path'"),
        (["path,label"], "has no rows below its header"),
        (["file,label", "images/0.png,a"], "no column 'path'; its columns are file, label"),
        (["path,class", "images/0.png,a"], "no column 'label'"),
        (["path,label,path", "images/0.png,a,b"], "two columns called 'path'"),
        (
            ["path,label", "images/0.png,a", "images/1.png"],
            "Line 3 of .* has 1 cells, the header 2",
        ),
        (["path,label", "images/0.png,a,b"], "Line 2 of .* has 3 cells"),
        (["path,label", '"images/0.png,a'], "is no CSV file .unexpected end"),
        (
            ["path,label", "images/0.png,0", "images/1.png,-1"],
            "least 0. Received: label -1 in line",
        ),
        (
            ["path,label", "images/0.png,a", "images/1.png,b", "", "images/0.png,a"],
            "'images/0.png' more than once, in lines 2 and 5. Remove one",
        ),
        (
            ["path,label", "images/0.png,a", "images/../images/0.png,b"],
            "two labels, in lines 2 and 3",
        ),
        (
            ["path,label,split", "images/0.png,a,train", "images/0.png,a,test"],
            "into 'train' and into 'test', in lines 2 and 3",
        ),
    ],
)
def test_wrong_tables(folder, lines, message):
    with pytest.raises(ValueError, match=message):
        from_table(write(folder, *lines))


@pytest.mark.parametrize("value", ["one", "inf", "1e999"])
def test_boxes_that_are_no_numbers(folder, value):
    table = write(folder, "path,label,x1,y1,x2,y2", f"images/0.png,a,0,1,{value},3")
    with pytest.raises(
        ValueError, match=f"numbers in the column 'x2'. Received: '{value}' in line 2"
    ):
        from_table(table, box_columns=COLUMNS)


@pytest.mark.parametrize("name", ["path_column", "label_column"])
def test_columns_are_called_by_names(folder, name):
    table = write(folder, ",label", "images/3.png,owl")
    for wrong in (None, 0):
        with pytest.raises(ValueError, match=f"by their names, str. Received: {wrong}"):
            from_table(table, **{"path_column": "", name: wrong})
    assert len(from_table(table, path_column="")) == 1  # pandas' index without a name


def test_missing_files(folder):
    with pytest.raises(FileNotFoundError, match="No such table. Received: path=.*none.csv"):
        from_table(folder / "none.csv")
    table = write(folder, "path,label", "images/0.png,a", "images/77.png,b", "images/88.png,b")
    with pytest.raises(FileNotFoundError, match="2 of the photographs .*77.png, .*88.png$"):
        from_table(table)
    (folder / "latin.csv").write_bytes("path,label\nimages/0.png,höhle\n".encode("latin-1"))
    with pytest.raises(ValueError, match="latin.csv is no CSV file in UTF-8"):
        from_table(folder / "latin.csv")


def test_a_column_a_level(folder):
    rows = ["VW,Audi,A4", "VW,Audi,TT", "BMW,BMW,M3", "VW,Audi,A4"]
    lines = [f"images/{i}.png,{row}" for i, row in enumerate(rows)]
    table = write(folder, "path,group,make,model", *lines)
    options = {"label_column": "model", "levels": ["group", "make"]}
    samples = from_table(table, **options)
    assert samples.class_names == ("A4", "M3", "TT")
    assert samples.hierarchy == {"group": ("VW", "BMW", "VW"), "make": ("Audi", "BMW", "Audi")}
    options["levels"].append("model")  # that of the classes
    assert from_table(table, **options).hierarchy == samples.hierarchy
    assert from_table(table, label_column="model").hierarchy is None
    with pytest.raises(ValueError, match="no column 'maker'"):
        from_table(table, label_column="model", levels=["maker"])
    with pytest.raises(ValueError, match="no group, of the classes Z4"):
        from_table(table, class_names=["A4", "M3", "TT", "Z4"], **options)
    table = write(folder, "path,make,model", "images/0.png,Audi,TT", "images/1.png,BMW,TT")
    with pytest.raises(ValueError, match="'TT' in two of make: 'Audi' and, in line 3, 'BMW'"):
        from_table(table, label_column="model", levels=["make"])
