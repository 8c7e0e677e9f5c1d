"""The ``galutils`` command."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from galutils.errors import GalutilsError
from galutils.predict import commands

# Threads of the GNU OpenMP library spin while they wait, which on a busy machine starves those that they wait for. So
# short a time costs nothing on an idle one. It is read when PyTorch is imported, here or in a process that is started.
os.environ.setdefault("GOMP_SPINCOUNT", "30000")

app = typer.Typer(
    help="Galaxy morphology: build a network or adapt one? The study's command line.",
    epilog="make report runs the study; each command's --help has an example; --install-completion teaches your shell.",
    context_settings={"help_option_names": ["--help", "-h"]},
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


app.add_typer(commands.app)


@app.command("mock", hidden=True)
@app.command()
def simulate(
    path: Annotated[Path, typer.Argument(help="The HDF5 file to write.")],
    count: Annotated[int, typer.Option(min=1, help="How many galaxies.")] = 1000,
    size: Annotated[int, typer.Option(min=8, help="Height and width in pixels.")] = 64,
    seed: Annotated[int, typer.Option(help="Same seed, same file.")] = 0,
    crop: Annotated[float, typer.Option(help="The central share of each side that is drawn.")] = 1.0,
    proportions: Annotated[str, typer.Option(help="Of the classes: balanced or galaxy10.")] = "balanced",
    version: Annotated[str, typer.Option(help="U, which no image of ours touched, or A, adapted to them.")] = "A",
) -> None:
    """Simulate galaxies in Galaxy10's layout, for example: galutils simulate sky.h5 --count 2000"""
    from galutils.data.simulate.cutouts import write_simulated

    write_simulated(path, count, size, seed, proportions, crop=crop, version=version)
    typer.echo(f"{path}: {count} simulated galaxies of {size} pixels")


@app.command()
def pretrain(
    to: Annotated[Path, typer.Option("--to", help="The .safetensors file to write.")],
    network: Annotated[str, typer.Option(help="custom_cnn; or vit, which learns without labels.")] = "custom_cnn",
    count: Annotated[int | None, typer.Option(min=20, help="How many simulated galaxies; else 60,000.")] = None,
    epochs: Annotated[int, typer.Option(min=1)] = 15,
    version: Annotated[str | None, typer.Option(help="Of the simulator: U, or A; see galutils simulate.")] = None,
    control: Annotated[
        str | None,
        typer.Option(help="labels: shuffled; or left out: shapes, arms, bars, seeing, noise, neighbours; else none."),
    ] = None,
    channels: Annotated[int | None, typer.Option(min=1, help="Of custom_cnn's convolutions; else 32.")] = None,
    processes: Annotated[int | None, typer.Option(min=1, help="How many simulate side by side; else one.")] = None,
    data: Annotated[Path | None, typer.Option(help="For vit: galaxies of which it sees those not tested on.")] = None,
) -> None:
    """Train a network on simulated galaxies, for example: galutils pretrain --to cnn.safetensors

    Or, without labels, on real ones: galutils pretrain --to vit.safetensors --network vit --data real.h5 --epochs 60
    """
    from galutils.study.provenance import git_commit
    from galutils.training.pretrain import pretrain as train_first

    said = train_first(
        to, git_commit(), network, count, epochs, version, control, processes, data=data, channels=channels
    )
    typer.echo(f"{to}: {said}")


@app.command()
def pack(
    source: Annotated[Path, typer.Argument(help="A folder of one subfolder per class; or CSV, Parquet, FITS, HDF5.")],
    out: Annotated[Path, typer.Argument(help="The HDF5 file to write.")],
    images: Annotated[Path | None, typer.Option(help="The folder of the images that a table names.")] = None,
    image_column: Annotated[str | None, typer.Option(help="The column with the image; else guessed.")] = None,
    label_column: Annotated[str | None, typer.Option(help="The column with the class; else guessed.")] = None,
    votes: Annotated[str, typer.Option(help="Columns with vote fractions: the largest is the class.")] = "",
    min_votes: Annotated[float | None, typer.Option(help="Leave out galaxies whose largest is smaller.")] = None,
    classes: Annotated[str, typer.Option(help="Names of the classes in their order.")] = "",
    size: Annotated[int | None, typer.Option(help="In pixels; else the median, at most 256.")] = None,
    field: Annotated[float | None, typer.Option(help="Arcsec that each image shall span.")] = None,
    pixel_scale: Annotated[float | None, typer.Option(help="Arcsec per pixel, where pictures do not say.")] = None,
    bands: Annotated[str | None, typer.Option(help="The bands of FITS images, such as grz.")] = None,
    grey: Annotated[bool, typer.Option("--grey", help="Take FITS images of a single band, in grey.")] = False,
) -> None:
    """Make one file of your own galaxies, for example: galutils pack labels.csv own.h5 --label-column kind

    A table names the images, and perhaps ra, dec and redshift; Parquet and HDF5 may hold the images themselves.
    Names of columns and of classes are separated by commas.
    """
    from galutils.data.check import survey_file
    from galutils.data.image_files import Reading
    from galutils.data.pack import pack as write_packed

    write_packed(
        source, out, images=images, image_column=image_column, label_column=label_column, votes=commands.split(votes),
        classes=commands.split(classes), min_votes=min_votes, size=size, field=field,
        reading=Reading(pixel_scale, bands=bands, grey=grey), say=typer.echo,
    )  # fmt: skip
    typer.echo(survey_file(out))


@app.command()
def execute(
    source: Annotated[Path, typer.Argument(help="The notebook to run.")],
    target: Annotated[Path, typer.Argument(help="Where the executed notebook goes.")],
    parameters: Annotated[str, typer.Option("--parameters", "-p", help="Its parameters, as JSON.")] = "{}",
) -> None:
    """Run one notebook, for example: galutils execute notebooks/05_custom_cnn.ipynb out.ipynb -p '{"epochs": 2}'"""
    from galutils.study.execute import execute_changed, read_parameters

    typer.echo(execute_changed(source, target, read_parameters(parameters)))


@app.command()
def train(
    data: Annotated[Path, typer.Argument(help="HDF5 in Galaxy10's layout; galutils pack makes it.")],
    to: Annotated[Path, typer.Option("--to", help="The run's directory, for predict and similar.")],
    approach: Annotated[str, typer.Option(help="A row of config/own.yaml.")] = "custom_cnn",
    weights: Annotated[str, typer.Option(help="What is adapted: imagenet, a file, or random.")] = "",
    seed: Annotated[int, typer.Option(min=0, help="Of the initialisation and the order of the images.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    parameters: Annotated[str, typer.Option("--parameters", "-p", help="More of its notebook's, as JSON.")] = "{}",
) -> None:
    """Train one network on one's own galaxies, for example: galutils train own.h5 --approach custom_cnn --to runs/own

    It is the study's notebook that runs, with the study's split: what it shows lies in the run's directory. Stopped, it
    goes on from its last epoch when the same command is given again.
    """
    from galutils.study.collect import describe_run
    from galutils.study.execute import execute_changed, read_parameters
    from galutils.study.plan import plan_run
    from galutils.study.runs import Run

    checkout = Path(__file__).resolve().parents[1]
    notebook, page = plan_run(checkout, str(data), approach, to, weights, device, seed, read_parameters(parameters))
    typer.echo(execute_changed(notebook, page.executed, page.parameters))
    typer.echo(describe_run(Run(page.directory)))
    typer.echo(f"Its curves and mistakes are in {page.executed}. Classify others with: galutils predict {to} IMAGES")


@app.command()
def plan(
    profile: Annotated[str, typer.Argument(help="A configuration in config/, such as paper.")],
    data: Annotated[str, typer.Option(help="As make's DATA, and so are the others.")] = "",
    vgg_weights: str = "",
    dino_weights: str = "",
    device: str = "",
    root: Annotated[Path, typer.Option(help="The checkout.")] = Path(),
) -> None:
    """Say what make report PROFILE=... will take: downloads, disk, runs, hours on this device, and what is there."""
    from galutils.study.pages import load_study
    from galutils.study.plan import describe_plan

    typer.echo("\n".join(describe_plan(load_study(root, profile, data, vgg_weights, dino_weights, device))))


@app.command()
def report(
    profile: Annotated[str, typer.Argument(help="A configuration in config/: quick, small, paper, smoke.")] = "quick",
    root: Annotated[Path, typer.Option(help="The checkout.")] = Path(),
    open_: Annotated[bool, typer.Option("--open", help="Open its first page in a browser.")] = False,
    pdf: Annotated[bool, typer.Option("--pdf", help="Print all pages to study.pdf, too; needs Chromium.")] = False,
) -> None:
    """Render the report of a study whose notebooks have run (make report runs them first)."""
    from galutils.study.pages import load_study

    study = load_study(root, profile)  # what draws the report takes seconds to import
    from galutils.report.build import build_report
    from galutils.report.pdf import write_pdf

    index = build_report(study)
    typer.echo(index)
    if pdf:
        typer.echo(write_pdf(index.parent))
    if open_:
        typer.launch(index.resolve().as_uri())


@app.command()
def bundle(
    profile: Annotated[str, typer.Argument(help="A profile whose runs are complete.")] = "quick",
    to: Annotated[Path | None, typer.Option(help="The folder; else bundles/PROFILE. A zip is put beside it.")] = None,
    check: Annotated[Path | None, typer.Option(help="A bundle, folder or zip, to read back instead.")] = None,
    root: Annotated[Path, typer.Option(help="The checkout.")] = Path(),
) -> None:
    """Pack predictions, scores and networks for others, for example: galutils bundle quick --to ready

    A folder and a zip for Zenodo: an RO-Crate with a card for each approach, whose networks plain PyTorch runs.
    """
    from galutils.study.pages import load_study

    study = None if check else load_study(root, profile)
    from galutils.report.bundle import check_bundle, write_bundle

    typer.echo(write_bundle(study, to) if study else check_bundle(check))


@app.command("runs")
def list_runs(
    folder: Annotated[Path, typer.Argument(help="Where runs are, at any depth; or a run.")] = Path("runs"),
) -> None:
    """List runs with their scores, for example: galutils runs, or galutils runs runs/quick"""
    from galutils.study.collect import list_scores

    table = list_scores(folder)
    table["run"] = table["run"].str.ljust(table["run"].str.len().max())
    typer.echo(table.to_string(index=False, justify="left"))


@app.command()
def compare(
    first: Annotated[Path, typer.Argument(help="A run's directory, or that of all its seeds.")],
    second: Annotated[Path, typer.Argument(help="Another one's, on the same galaxies.")],
) -> None:
    """Which of two is better, for example: galutils compare runs/small/custom_cnn runs/small/vgg_scratch"""
    from galutils.study.collect import compare_runs

    typer.echo(compare_runs(first, second))


@app.command()
def advise(
    labels: Annotated[int, typer.Option(min=1, help="How many galaxies are labelled.")],
    runs: Annotated[Path, typer.Option(help="Runs of a profile with labels.")] = Path("runs/labels"),
) -> None:
    """Say which way to a classifier is best with so many labels, for example: galutils advise --labels 300"""
    if not runs.is_dir():
        raise GalutilsError(f"{runs}: there is no such folder; name the runs of a profile with labels by --runs.")
    from galutils.study.ablations import advise as describe_best_way

    typer.echo(describe_best_way(runs, [labels])[0])


@app.command()
def results(folder: Annotated[Path, typer.Argument(help="A profile's runs, such as runs/quick.")]) -> None:
    """Compute the statistics of a profile's runs and print its table, for example: galutils results runs/quick"""
    from galutils.study.keys import check_profile_dir

    check_profile_dir(folder)
    from galutils.report.tables import format_table
    from galutils.study.results import load_results

    typer.echo(format_table(load_results(folder).shown, "these runs").to_string(index=False))


@app.command()
def check(path: Annotated[Path, typer.Argument(help="HDF5 in Galaxy10's layout, or .safetensors or .pth.")]) -> None:
    """Read a file of galaxies or weights through and say what it is, for example: galutils check Galaxy10_DECals.h5"""
    if path.suffix in (".safetensors", ".pth", ".pt", ".bin"):
        from galutils.study.profile import find_file

        find_file(str(path), advice="give the path of a weights file")
        from galutils.models.weights import describe_weights

        typer.echo(describe_weights(path))
    else:  # without PyTorch, which takes seconds to load
        from galutils.data.check import survey_file

        typer.echo(survey_file(path))


fetch_app = typer.Typer(help="Download the real data or the pretrained weights.", no_args_is_help=True)
app.add_typer(fetch_app, name="fetch")


@fetch_app.command("data")
def fetch_data(
    copy: Annotated[Path | None, typer.Option("--from", help="A copy to check and take; no download.")] = None,
    to: Annotated[Path | None, typer.Option(help="The folder; else $GALUTILS_DATA or the platform's.")] = None,
) -> None:
    """Bring Galaxy10_DECals.h5 (2.7 GB) from Zenodo, resumed and checked, for example: galutils fetch data"""
    from galutils.data.sources import fetch_galaxy10

    typer.echo(fetch_galaxy10(to, copy))


@fetch_app.command("weights")
def fetch_weights() -> None:
    """Bring the official VGG11 and DINO ViT-S/16 into the caches of torch and Hugging Face."""
    from galutils.models.weights import fetch_official

    typer.echo("\n".join(map(str, fetch_official())))


def main() -> None:
    """Entry point: an error that a user can mend is one sentence on stderr and exit code 1."""
    try:
        Path.home()  # caches lie there
    except RuntimeError:
        sys.exit("galutils: there is no home folder; set HOME to a folder that can be written to.")
    try:
        app()
    except (GalutilsError, OSError) as error:
        named = isinstance(error, OSError) and error.filename
        print(f"galutils: {f'{error.filename}: {error.strerror}.' if named else error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
