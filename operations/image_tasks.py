"""`image.build` and `image.list`: the images of hubconfig/images/, from the terminal."""

from __future__ import annotations

from docker import from_env
from docker.errors import ImageNotFound
from rich.console import Console
from rich.table import Table

from operations import images, setup
from operations.errors import UserError
from operations.progress import note, seconds, step


def build(name: str) -> None:
    """Build one image, or `all`. An image whose content has not changed is there already."""
    known = images.names()
    if name != "all" and name not in known:
        raise UserError(f"--name {name!r}: there is no such image. There are: {', '.join(known)}; or all.")
    setup.docker()
    for each in known if name == "all" else [name]:
        with step(f"image {each}") as tell:
            built = images.build(each, tell)
        took = f"built in {seconds(built.build_s)}" if built.build_s else "was there"
        note(f"{built.tag}: {built.size_mib} MiB, {took}")


def show() -> None:
    """A table of all images: the tag their content has now, and whether that one is built."""
    setup.docker()
    client = from_env()
    table = Table("image", "tag", "built", "size")
    table.columns[3].justify = "right"
    try:
        for name in images.names():
            tag = images.tag_of(name, images.content_hash(name))
            try:
                size = f"{images.mib(client.images.get(tag).attrs['Size'])} MiB"
            except ImageNotFound:
                size = ""
            table.add_row(name, tag, "yes" if size else "no", size)
    finally:
        client.close()
    Console().print(table)
