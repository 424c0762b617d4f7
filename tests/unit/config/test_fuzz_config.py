"""Settings from strangers: any text and any values give a valid configuration or a clear error."""

import json
import math

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from helpers.settings import config_problem, read_config
from i2crc.config.load import dump_config, load_config, read_yaml
from i2crc.config.schema import Config, Section
from i2crc.runtime.errors import InputError


def names(section: type[Section]) -> set[str]:
    """The keys of a section and of those in it."""
    found = set(section.model_fields)
    for field in section.model_fields.values():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            found |= names(field.annotation)
    return found


KEYS = st.one_of(
    st.sampled_from(sorted(names(Config))), st.text(max_size=5), st.none(), st.integers()
)
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.dates(),
    st.binary(max_size=5),
    st.sampled_from(["", "null", "true", "1", "1e400", "..", "/", "vgg16", "paper", "file"]),
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=20,
)


def assert_sound(config: Config) -> None:
    """A configuration that scripts can be given, and that keeps to its own folder."""
    text = config.model_dump_json()
    assert Config.model_validate_json(text) == config
    # Snakemake reads configuration files with this loader.
    saved = yaml.load(dump_config(config), yaml.FullLoader)
    assert load_config(saved, "config.yaml") == config
    assert "NaN" not in text
    assert config.experiment.strip(".")
    assert "/" not in config.experiment


@given(st.dictionaries(KEYS, VALUES, max_size=5))
@example({"\x1e\n\n": None})
def test_any_values(values):
    try:
        config = load_config(values, "my.yaml")
    except InputError as error:
        assert all(line for line in str(error).splitlines())
        assert str(error).startswith("my.yaml: ")
    else:
        assert_sound(config)


def dotted(section: type[Section], prefix: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found = []
    for name, field in section.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            found += dotted(field.annotation, (*prefix, name))
        else:
            found.append((*prefix, name))
    return found


@given(st.sampled_from(dotted(Config)), VALUES)
def test_any_value_of_a_setting(path, value):
    values = value
    for name in reversed(path):
        values = {name: values}
    try:
        assert_sound(load_config(values, "my.yaml"))
    except InputError as error:
        assert f"{path[0]}" in str(error)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return tmp_path_factory.mktemp("config") / "my.yaml"


def assert_read_or_refused(file, content: bytes) -> None:
    file.write_bytes(content)
    try:
        values = read_yaml(file)
        if isinstance(values, dict):  # Snakemake refuses anything else
            assert_sound(load_config(values, str(file)))
    except InputError as error:
        assert str(error).startswith(f"{file}: ")


@given(st.text(st.sampled_from("seed: 1\n-[]{}&*!|>'\"#%@`,?abtrueclassifier.\t"), max_size=60))
@example("seed: 1\0")
@example("\x1b[31m: 1")
@example("? [a]\n: 1")
@example("? {a: 1}\n: 1")
@example("<<: 5")
@example("<<: [{seed: 1}, {seed: 2}]")
@example("seed: 0o17")
@example("seed: 2020-13-45")
@example("seed: 9" + "9" * 5000)
@example("seed: !!int x")
@example("seed: !!timestamp x")
@example("seed: !!binary x")
@example("seed: !!float x")
@example("classifier: !!omap [a: 1]")
@example("---\nseed: 1\n---\nseed: 2")
@example("%YAML 3.0\n---\nseed: 1")
@example('"\\ud800": 1')
@example('experiment: "\\ud800"')
def test_any_text(file, text):
    assert_read_or_refused(file, text.encode(errors="surrogatepass"))


@given(st.binary(max_size=60))
def test_any_bytes(file, content):
    assert_read_or_refused(file, content)


@given(st.dictionaries(KEYS, VALUES, max_size=5))
def test_any_yaml(file, values):
    assert_read_or_refused(file, yaml.safe_dump(values, allow_unicode=True).encode())


@pytest.mark.parametrize(
    "tag",
    [
        '!!python/object/apply:os.system ["touch TRACE"]',
        "!!python/name:os.system",
        "!!python/module:os",
        '!!python/object/new:os.system ["touch TRACE"]',
        "!include /etc/passwd",
    ],
)
def test_yaml_tag_runs_nothing_and_is_named_with_its_line(file, tag):
    trace = file.with_name("trace")
    file.write_text(f"shards: 2\nexperiment: {tag.replace('TRACE', str(trace))}\n")
    with pytest.raises(InputError, match=r"my\.yaml: not readable as YAML: .*tag(?s:.*)line 2"):
        read_config(file)
    assert not trace.exists()


def nested(kind: str) -> str:
    """Ten references to what holds ten references, and so on: without end, written out."""
    form = {"list": "[{}]", "mapping": "{{{}}}"}[kind]
    lines = ["a0: &a0 {x: 1}"]
    for level in range(1, 15):
        keys = "" if kind == "list" else "k{}: "
        inner = ", ".join(f"{keys.format(n)}*a{level - 1}" for n in range(10))
        lines.append(f"a{level}: &a{level} {form.format(inner)}")
    return "\n".join([*lines, "classifier: *a14", "dataset: {classes: *a14}", "seed: *a14"])


@pytest.mark.parametrize(
    "text",
    [
        nested("list"),
        nested("mapping"),
        "classifier: &c {weights: *c}",
        "dataset: {classes: &c [*c]}",
        "&top {seed: *top}",
        "seed: " + "[" * 5000 + "]" * 5000,
        "classifier: " + "{a: " * 5000 + "}" * 5000,
        "classifier:\n" + "\n".join(" " * n + "a:" for n in range(1, 3000)),
    ],
    ids=["lists", "mappings", "in itself", "list in itself", "all", "deep", "deep too", "indented"],
)
def test_references_without_end(file, text):
    file.write_text(text)
    with pytest.raises(InputError, match=r"my\.yaml"):
        read_config(file)


@pytest.mark.parametrize(
    ("text", "key", "line"),
    [
        ("seed: 1\nshards: 2\nseed: 2\n", "seed", 3),
        ("classifier:\n  epochs: 1\n  epochs: 1\n", "epochs", 3),
        ("dataset: {demo: {size: 64}, demo: {size: 128}}", "demo", 1),
        ("crf: {iterations: 1}\nseed: 1\n\ncrf: {gaussian_xy: 2}\n", "crf", 4),
        ('{"seed": 1, "seed": 2}', "seed", 1),
    ],
)
def test_key_given_twice_is_named_with_its_line(file, text, key, line):
    """YAML itself would take the last one in silence."""
    file.write_text(text)
    with pytest.raises(InputError, match=rf"`{key}` is given twice(?s:.*)my\.yaml\", line {line}"):
        read_config(file)


def test_merged_mappings_are_not_twice(file):
    file.write_text(
        "classifier: &common\n  batch_size: 3\n  accumulate: 4\n"
        "segmentation:\n  <<: *common\n  batch_size: 7\n"
    )
    segmentation = read_config(file).segmentation
    assert (segmentation.batch_size, segmentation.accumulate) == (7, 4)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, "nan", "inf", 10**400])
@pytest.mark.parametrize("key", ["bilateral_xy", "gaussian_weight"])
def test_number_that_is_none(key, value):
    assert f"`crf.{key}` is " in config_problem({"crf": {key: value}})


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ({"seed": True}, "seed"),
        ({"shards": True}, "shards"),
        ({"crf": {"gaussian_xy": True}}, "crf.gaussian_xy"),
        ({"dataset": {"limit": True}}, "dataset.limit"),
        ({"classifier": {"color_jitter": [True, 0.3, 0.3, 0.1]}}, "classifier.color_jitter"),
        ({"dataset": {"classes": ["cat", False]}}, "dataset.classes"),
        ({"experiment": True}, "experiment"),
        ({"preset": False}, "preset"),
    ],
)
def test_yes_and_no_are_neither_numbers_nor_words(values, key):
    """YAML reads `yes`, `no`, `on`, `off` as truth values, even as the name of a class."""
    message = config_problem(values)
    assert f"`{key}` is " in message
    assert "quotes" in message


def test_words_that_yaml_takes_for_numbers_need_quotes():
    assert "quotes" in config_problem({"dataset": {"classes": ["cat", 5]}})
    assert "quotes" in config_problem({"experiment": 5})


@pytest.mark.parametrize(
    "name",
    ["..", ".", "...", ".hidden", "a/b", "../a", "-rf", "", "a b", "a\n", "\u00e9", "x" * 300],
)
def test_experiment_that_is_no_name_of_a_folder(name):
    message = config_problem({"experiment": name})
    assert "`experiment` is " in message
    assert len(message) < 400


@pytest.mark.parametrize("name", ["a", "7", "_x", "voc12-small", "a..b", "2024.01"])
def test_experiment(name):
    assert load_config({"experiment": name}, "my.yaml").experiment == name


@pytest.mark.parametrize("folder", ["", "-x", "~/out", "~", "a{b}", "a\nb", "a\0b"])
@pytest.mark.parametrize(
    "key", ["results", "dataset.root", "saliency.location", "checkpoint.source"]
)
def test_folder_that_a_shell_or_snakemake_would_take_for_something_else(key, folder):
    values = folder
    for part in reversed(key.split(".")):
        values = {part: values}
    if folder in ("", "a{b}") and key != "results":
        load_config(values, "my.yaml")
    else:
        assert f"`{key}` is {folder!r}: " in config_problem(values)


@pytest.mark.parametrize(
    "folder", ["/data/my results; $(x)", "a 'b' \"c\"", "\u00fc", "../x", "C:\\"]
)
def test_folder(folder):
    config = load_config({"results": folder, "dataset": {"root": folder}}, "my.yaml")
    assert config.results == config.dataset.root == folder


def test_classes_are_different():
    message = config_problem({"dataset": {"classes": ["cat", "dog", "cat"]}})
    assert "dataset.classes" in message
    assert "cat" in message.split("twice")[0]


@pytest.mark.parametrize("name", ["", " ", "cat\ndog"])
def test_class_without_a_name(name):
    assert "`dataset.classes" in config_problem({"dataset": {"classes": ["cat", name]}})


@pytest.mark.parametrize(("section", "key"), [("saliency", "location"), ("checkpoint", "source")])
def test_password_in_an_address_is_refused_and_not_shown(section, key):
    """It would stand in logs, manifests and the report."""
    message = config_problem({section: {key: "https://me:s3cret@host/maps.zip"}})
    assert f"`{section}.{key}` is '...@host/maps.zip'" in message
    assert "netrc" in message
    assert "s3cret" not in message


def test_message_stays_short_for_any_value():
    value = {"a" * 1000: ["b" * 1000] * 1000}
    message = config_problem({"seed": value, "shards": "9" * 10_000, "x" * 10_000: 1})
    assert len(message) < 2000


def test_settings_given_as_json_text_survive():
    text = load_config({"dataset": {"classes": ["Kätzchen", "it's"]}}, "my.yaml").model_dump_json()
    assert json.loads(text)["dataset"]["classes"] == ["Kätzchen", "it's"]
