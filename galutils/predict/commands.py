"""The commands on images: what a finished run makes of them."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from galutils.study.runs import Run

app = typer.Typer()

Images = Annotated[list[str], typer.Argument(help="JPEG, PNG, FITS, HDF5, folders, @list.txt, catalogue.csv.")]
ImageColumn = Annotated[str | None, typer.Option(help="A catalogue's column of images; else guessed.")]
RunDir = Annotated[Path, typer.Argument(help="A run's directory, such as runs/quick/custom_cnn/seed0.")]
DataPath = Annotated[Path | None, typer.Option("--data", help="The file that the run read, if it has moved.")]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
PixelScale = Annotated[float | None, typer.Option(help="Arcsec per pixel of images that do not say it.")]
Field = Annotated[float | None, typer.Option(help="Arcsec that the shorter side of such images spans.")]
Bands = Annotated[str | None, typer.Option(help="Of FITS planes, such as grz; of others, three for blue, green, red.")]
Grey = Annotated[bool, typer.Option("--grey", help="Show a single band in grey instead of refusing it.")]
Sheet = Annotated[Path, typer.Option("--to", help="The contact sheet: .png, .jpg, .webp, .svg or .pdf.")]


def split(names: str) -> list[str]:
    """What commas separate."""
    return [name.strip() for name in names.split(",") if name.strip()]


@app.command()
def predict(
    run_dir: RunDir,
    images: Images,
    json_: Annotated[bool, typer.Option("--json", help="Print a list of objects instead of a table.")] = False,
    csv: Annotated[bool, typer.Option("--csv", help="Print comma-separated values instead of a table.")] = False,
    parquet: Annotated[Path | None, typer.Option(help="Write a Parquet file instead of printing a table.")] = None,
    score: Annotated[bool, typer.Option("--score", help="Hold classes against the labels of one HDF5 file.")] = False,
    classes: Annotated[Path | None, typer.Option(help="With --score: lines 'theirs,ours' of classes.")] = None,
    image_column: ImageColumn = None,
    field: Field = None,
    pixel_scale: PixelScale = None,
    bands: Bands = None,
    grey: Grey = False,
    data: DataPath = None,
    device: Device = "auto",
) -> None:
    """Classify images, for example: galutils predict runs/quick/custom_cnn/seed0 galaxy.jpg cutouts/ --json

    An image should show what the training images show, one galaxy in the middle; it is cut or filled up to their
    field of view where its own is known. It is marked where it is odd or unlike the training galaxies, or where the
    network is less sure than it nearly ever is. Files that cannot be used are named at the end (exit code 1).
    """
    from galutils.data.image_files import Reading
    from galutils.files import check_target
    from galutils.predict.classify import as_csv, as_records, as_text, classify, write_parquet
    from galutils.predict.inputs import check_unread

    if classes and not score:
        raise typer.BadParameter("--classes is of use with --score alone; add that, or leave it out.")
    if score:  # takes scikit-learn along, which takes a second to import
        from galutils.predict.score import describe_score, grade_file, read_links
    if json_ + csv + score + (parquet is not None) > 1:
        raise typer.BadParameter("choose one of --json, --csv, --parquet and --score.")
    if parquet:
        check_target(parquet, ".parquet")
        check_unread(parquet, images, image_column)
    if score and len(images) > 1:
        raise typer.BadParameter("--score takes one HDF5 file with labels.")
    reading, links = Reading(pixel_scale, field, bands, grey), read_links(classes) if classes else []
    found = classify(run_dir, images, data, device, reading, image_column)
    if len(found.table):
        _introduce(found.run)
        if score:
            graded, left, _ = grade_file(images[0], found.table, found.run.classes, links)
            typer.echo("\n".join([*left, describe_score(graded, found.table["distance"])]))
        elif json_:
            typer.echo(json.dumps(as_records(found.table), indent=2, allow_nan=False))
        elif parquet:
            typer.echo(write_parquet(found.table, parquet))
        else:
            typer.echo(as_csv(found.table) if csv else as_text(found.table))
    _end([*found.notes, *found.failures], found.failures)


@app.command()
def features(
    run_dir: RunDir,
    images: Images,
    to: Annotated[Path, typer.Option("--to", help="The Parquet file to write.")],
    image_column: ImageColumn = None,
    field: Field = None,
    pixel_scale: PixelScale = None,
    bands: Bands = None,
    grey: Grey = False,
    device: Device = "auto",
) -> None:
    """Write what a network sees in images, for example: galutils features runs/own cutouts/ --to features.parquet"""
    from galutils.data.image_files import Reading
    from galutils.files import check_target
    from galutils.predict.classify import extract_features, write_parquet
    from galutils.predict.inputs import check_unread
    from galutils.study.runs import Run

    check_target(to, ".parquet")
    check_unread(to, images, image_column)
    reading, run = Reading(pixel_scale, field, bands, grey), Run(run_dir)
    from galutils.study.features import open_features  # with PyTorch, which takes seconds to load

    table, failures = extract_features(open_features(run, device), images, reading, image_column)
    if len(table):
        _introduce(run)
        typer.echo(write_parquet(table, to))
    _end(failures, failures)


@app.command()
def classify(
    run_dir: RunDir,
    source: Annotated[str, typer.Argument(help="A HATS catalogue, or its address, a table, HDF5, a folder of images.")],
    to: Annotated[Path, typer.Option("--to", help="The catalogue to write, a folder.")],
    workers: Annotated[
        int, typer.Option(min=1, help="Processes, on this machine or as jobs; several may share a GPU.")
    ] = 1,
    memory: Annotated[float, typer.Option(min=1, help="GB that each may take.")] = 4.0,
    scheduler: Annotated[str | None, typer.Option(help="Of a Dask cluster instead, such as tcp://host:8786.")] = None,
    slurm: Annotated[str | None, typer.Option(help="Options of Slurm jobs instead, as partition=...,time=...")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what there is to do, and how long it takes.")] = False,
    features: Annotated[bool, typer.Option("--features", help="Write what the network sees of each, too.")] = False,
    image_column: ImageColumn = None,
    keep: Annotated[str, typer.Option(help="Columns to carry along, separated by commas; else ids.")] = "",
    field: Field = None,
    pixel_scale: PixelScale = None,
    bands: Bands = None,
    grey: Grey = False,
    data: DataPath = None,
    device: Device = "auto",
    precision: Annotated[
        str, typer.Option(help="32-true; or bf16-mixed, faster where the machine has it.")
    ] = "32-true",
) -> None:
    """Classify a survey, for example: galutils classify runs/own sky_hats --to classes --workers 2

    Killed at any moment, it goes on when the same command is given again. A catalogue with positions becomes one in
    HATS's layout, for LSDB. Needs pip install 'galutils[survey]'.
    """
    from galutils.data.image_files import Reading
    from galutils.predict.survey import Where, classify_survey, describe_survey
    from galutils.study.runs import Run

    if scheduler and slurm:
        raise typer.BadParameter("choose one of --scheduler and --slurm.")
    columns = tuple(split(keep))
    options = {"where": Where(workers, memory, scheduler, slurm), "keep": columns, "image_column": image_column}
    options |= {"reading": Reading(pixel_scale, field, bands, grey), "device": device, "precision": precision}
    if dry_run:
        told = describe_survey(run_dir, source, to, **options)
        _introduce(Run(run_dir))
        typer.echo(told)
        return

    def say(sentence: str) -> None:
        typer.echo(f"galutils: {sentence}", err=True)

    options |= {"features": features, "data_path": data, "command": shlex.join(sys.argv), "say": say}
    written = classify_survey(run_dir, source, to, **options)
    _introduce(Run(run_dir))
    typer.echo(written)


@app.command()
def similar(
    run_dir: RunDir,
    images: Images,
    count: Annotated[int, typer.Option(min=1, max=200, help="How many galaxies.")] = 12,
    to: Sheet = Path("similar.png"),
    json_: Annotated[bool, typer.Option("--json", help="Print a list of objects, and draw nothing.")] = False,
    csv: Annotated[bool, typer.Option("--csv", help="Print comma-separated values, and draw nothing.")] = False,
    field: Field = None,
    pixel_scale: PixelScale = None,
    bands: Bands = None,
    grey: Grey = False,
    data: DataPath = None,
    device: Device = "auto",
) -> None:
    """Find the most similar galaxies, for example: galutils similar runs/quick/dino_kmeans/seed0 galaxy.jpg

    Prints their rows and positions, and draws those of the first image on a contact sheet. Likeness is nearness in what
    the run's network sees; the first call for a run looks at all galaxies once, and keeps what it saw.
    """
    from galutils.data.image_files import Reading, read_picture
    from galutils.predict.similar import check_sheet, find_similar, write_sheet
    from galutils.study.runs import Run

    if json_ and csv:
        raise typer.BadParameter("choose --json or --csv, not both.")
    if not json_ and not csv:
        check_sheet(to, images)
    reading = Reading(pixel_scale, field, bands, grey)
    table, galaxies, span, failures = find_similar(run_dir, images, count, data, device, reading)
    if len(table):
        _introduce(Run(run_dir))
    if json_ and len(table):
        typer.echo(table.to_json(orient="records", indent=2))
    elif len(table):
        words = {"index": False, "float_format": "{:.4f}".format}
        typer.echo(table.to_csv(index=False).rstrip() if csv else table.to_string(**words))
        if not csv and Path(table["image"].iloc[0]).is_file():
            own = table[table["image"] == (first := table["image"].iloc[0])]
            write_sheet(to, read_picture(first, reading, span).image, own, galaxies.read_images(own["row"]))
            typer.echo(to)
    _end(failures, failures)


def _introduce(run: Run) -> None:
    """Say on stderr what a run is worth, first what it does not bear on."""
    from galutils.study.collect import describe_run, tabulate

    row = tabulate([run]).iloc[0]
    alone = "" if row["pretrained"] else " alone"
    doubts = (
        (
            run.metrics["data"]["simulated"],
            f"Learnt from simulated galaxies{alone}: its accuracy says nothing of real ones.",
        ),
        (row["random"], "Started from random weights, not from pretrained ones."),
        (row["collapsed"], "Collapsed: nearly all galaxies are given one class."),
    )
    said = [*(sentence for holds, sentence in doubts if holds), describe_run(run)]
    typer.echo(f"galutils: {' '.join(said)}", err=True)


def _end(said: list[str], failures: list[str]) -> None:
    """Say what there is to say on stderr; exit code 1 if something could not be used."""
    for sentence in said:
        typer.echo(f"galutils: {sentence}", err=True)
    if failures:
        raise typer.Exit(1)
